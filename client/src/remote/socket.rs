//! The UDP socket under a connection to a server.
//!
//! Owns how it is bound and how large its kernel buffers are. It must not know QUIC.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Kernel buffers asked for, in bytes: about what arrives in 50 ms at 1 Gbit/s. The default of
/// 208 KiB drops packets whenever the process is not scheduled for two milliseconds.
const SOCKET_BUFFER_BYTES: usize = 7 * 1024 * 1024;

/// Binds any free port of the family of `server`, with large kernel buffers where the system
/// grants them.
///
/// # Errors
/// What the system says, such as that it has no such address family.
pub(super) fn bind_towards(server: SocketAddr) -> io::Result<UdpSocket> {
    let local = match server {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(local)?;
    enlarge_buffers(&socket);
    Ok(socket)
}

/// Asks for large buffers; the system clips them to its limits.
fn enlarge_buffers(socket: &UdpSocket) {
    use rustix::net::sockopt;
    if let Err(error) = sockopt::set_socket_recv_buffer_size(socket, SOCKET_BUFFER_BYTES) {
        tracing::debug!(%error, "the receive buffer keeps its size");
    }
    if let Err(error) = sockopt::set_socket_send_buffer_size(socket, SOCKET_BUFFER_BYTES) {
        tracing::debug!(%error, "the send buffer keeps its size");
    }
}
