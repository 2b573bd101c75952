//! The server that `up` starts beside the device.
//!
//! Owns where its data lies and how this device and others reach it. It must not know how a server
//! works.

use super::control::Failure;
use crate::home::Home;
use crate::remote;
use common::ids::ClusterId;
use common::trust::JoinCode;
use server::assemble::{Server, ServerConfig, ServerError};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Life of the code with which the own device joins, in milliseconds.
const BOOTSTRAP_LIFE_MS: u64 = 3_600_000;

/// A running embedded server.
pub struct Embedded {
    server: Server,
}

impl Embedded {
    /// Starts the server of a home.
    ///
    /// # Errors
    /// The server's own kinds, such as `port_in_use` and `data_in_use`.
    pub async fn start(home: &Home, listen: SocketAddr) -> Result<Self, Failure> {
        let config = ServerConfig::new(home.server_path(), listen);
        let server = Server::start(config).await.map_err(|error| failure(&error))?;
        Ok(Self { server })
    }

    /// Checks that a server could listen there, and makes nothing.
    ///
    /// # Errors
    /// As [`Embedded::start`].
    pub fn check(listen: SocketAddr) -> Result<(), Failure> {
        Server::check_listen(listen).map_err(|error| failure(&error))
    }

    /// Its key.
    #[must_use]
    pub fn cluster(&self) -> ClusterId {
        self.server.cluster()
    }

    /// Where it listens: the port that was taken when 0 was asked for.
    #[must_use]
    pub fn listening(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// Where other devices find it.
    #[must_use]
    pub fn advertised(&self) -> remote::Server {
        remote::Server { addresses: self.server.addresses().to_vec(), cluster: self.cluster() }
    }

    /// Where this device finds it.
    #[must_use]
    pub fn local(&self) -> remote::Server {
        let mut address = self.server.local_addr();
        if address.ip().is_unspecified() {
            address.set_ip(match address.ip() {
                IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
                IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
            });
        }
        remote::Server { addresses: vec![address.to_string()], cluster: self.cluster() }
    }

    /// A code for the first device.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn bootstrap_code(&self) -> Result<JoinCode, Failure> {
        let minted = self.server.mint_bootstrap(BOOTSTRAP_LIFE_MS).await;
        minted
            .map(|minted| minted.code)
            .map_err(|error| Failure::new("invite", error.to_string(), "look at the server's disk"))
    }

    /// Stops it in good order.
    pub async fn stop(self) {
        self.server.shutdown().await;
    }
}

fn failure(error: &ServerError) -> Failure {
    Failure::new(error.kind(), error.explain(), error.hint())
}
