//! The UDP socket under the listener.
//!
//! Owns how it is bound and how large its kernel buffers are. It must not know QUIC.

use super::ListenError;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};

/// Kernel buffers asked for, in bytes: about what arrives in 50 ms at 1 Gbit/s. The default of
/// 208 KiB drops packets whenever the process is not scheduled for two milliseconds.
const SOCKET_BUFFER_BYTES: usize = 7 * 1024 * 1024;

/// Binds a socket for a server, with large kernel buffers where the system grants them.
///
/// # Errors
/// [`ListenError::PortInUse`], [`ListenError::Bind`].
pub(super) fn bind(address: SocketAddr) -> Result<UdpSocket, ListenError> {
    let socket = UdpSocket::bind(address).map_err(|source| match source.kind() {
        ErrorKind::AddrInUse => ListenError::PortInUse { address },
        _ => ListenError::Bind { address, source },
    })?;
    enlarge_buffers(&socket);
    Ok(socket)
}

/// Asks for large buffers: beyond the system's limit where that is allowed, else up to it.
fn enlarge_buffers(socket: &UdpSocket) {
    use rustix::net::sockopt;
    #[cfg(target_os = "linux")]
    let forced = sockopt::set_socket_recv_buffer_size_force(socket, SOCKET_BUFFER_BYTES).is_ok();
    #[cfg(not(target_os = "linux"))]
    let forced = false;
    if !forced && let Err(error) = sockopt::set_socket_recv_buffer_size(socket, SOCKET_BUFFER_BYTES)
    {
        tracing::debug!(%error, "the receive buffer keeps its size");
    }
    if let Err(error) = sockopt::set_socket_send_buffer_size(socket, SOCKET_BUFFER_BYTES) {
        tracing::debug!(%error, "the send buffer keeps its size");
    }
    if let Ok(bytes) = sockopt::socket_recv_buffer_size(socket) {
        tracing::debug!(bytes, "receive buffer of the socket");
    }
}
