//! The greeting on a connection's first stream.
//!
//! Owns version negotiation from the node's side. It must not admit anyone: that is done before.

use super::stream::{Reader, StreamError, Writer};
use crate::service::Service;
use common::wire::hello::{Hello, HelloReply, VERSION};

/// What this program calls itself.
const SOFTWARE: &str = concat!("driftless-server/", env!("CARGO_PKG_VERSION"));

/// Answers the greeting; false when the peer speaks no common version.
pub(super) async fn serve(
    service: &Service,
    reader: &mut Reader,
    writer: &mut Writer,
) -> Result<bool, StreamError> {
    let (hello, _) =
        reader.frame::<Hello>().await?.ok_or(StreamError::Malformed("no greeting was sent"))?;
    let reply = HelloReply {
        version: VERSION,
        software: SOFTWARE.to_owned(),
        features: Vec::new(),
        cluster: service.cluster().to_vec(),
        time_ms: service.now_ms(),
    };
    writer.frame(&reply).await?;
    writer.finish();
    Ok(hello.version == VERSION)
}
