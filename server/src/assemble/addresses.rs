//! Which addresses a join code names.
//!
//! Owns the choice: what the operator advertises; else the address that is listened on; and where
//! that is unspecified (`0.0.0.0`, `[::]`), the addresses of this machine's interfaces, loopback
//! last, so that a device on the same machine gets through as well. They are read from
//! `/proc/net` (`fib_trie`, `if_inet6`): no packet is sent and no name is looked up. It must not
//! know who will try them.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Most addresses of a join code: it is a line that people copy.
const ADDRESSES_MAX: usize = 6;

/// The addresses, in the order in which a joiner should try them; never empty.
#[must_use]
pub(super) fn advertised(configured: &[String], listening: SocketAddr) -> Vec<String> {
    if !configured.is_empty() {
        return configured.iter().map(|address| with_port(address, listening.port())).collect();
    }
    if !listening.ip().is_unspecified() {
        return vec![listening.to_string()];
    }
    // A machine without /proc has no interfaces here, but loopback is always there.
    let v4 = std::fs::read_to_string("/proc/net/fib_trie").unwrap_or_default();
    let v6 = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    of_interfaces(listening, &v4, &v6)
}

/// `HOST` becomes `HOST:PORT`; what names a port already stays.
fn with_port(address: &str, port: u16) -> String {
    if let Ok(ip) = address.parse::<IpAddr>() {
        return SocketAddr::new(ip, port).to_string();
    }
    match address.rsplit_once(':') {
        Some((_, digits)) if digits.parse::<u16>().is_ok() => address.to_owned(),
        _ => format!("{address}:{port}"),
    }
}

fn of_interfaces(listening: SocketAddr, fib_trie: &str, if_inet6: &str) -> Vec<String> {
    let mut ips: Vec<IpAddr> = local_v4(fib_trie).into_iter().map(IpAddr::V4).collect();
    if listening.is_ipv6() {
        ips.extend(global_v6(if_inet6).into_iter().map(IpAddr::V6));
    }
    ips.truncate(ADDRESSES_MAX - 1);
    ips.push(IpAddr::V4(Ipv4Addr::LOCALHOST));
    ips.into_iter().map(|ip| SocketAddr::new(ip, listening.port()).to_string()).collect()
}

/// Addresses that the kernel's routing trie marks as this host's, without loopback.
fn local_v4(fib_trie: &str) -> BTreeSet<Ipv4Addr> {
    let mut found = BTreeSet::new();
    let mut leaf: Option<Ipv4Addr> = None;
    for line in fib_trie.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            leaf = address.parse().ok();
        } else if line == "/32 host LOCAL" {
            found.extend(leaf.filter(|ip| !ip.is_loopback() && !ip.is_link_local()));
        }
    }
    found
}

/// Addresses of global scope: hex digits, index, prefix, scope (0 is global), flags, name.
fn global_v6(if_inet6: &str) -> BTreeSet<Ipv6Addr> {
    let mut found = BTreeSet::new();
    for line in if_inet6.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        if let [digits, _, _, "00", ..] = fields.as_slice()
            && let Ok(bits) = u128::from_str_radix(digits, 16)
        {
            found.insert(Ipv6Addr::from_bits(bits));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIB: &str = "Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 127.0.0.0
        /8 host LOCAL
     |-- 127.0.0.1
        /32 host LOCAL
     |-- 192.168.7.255
        /32 link BROADCAST
     |-- 192.168.7.9
        /32 host LOCAL
Local:
     |-- 192.168.7.9
        /32 host LOCAL
";
    const V6: &str = "20010db8000000000000000000000002 04 40 00 82     eth0
00000000000000000000000000000001 01 80 10 80       lo
fe8000000000000000fc00fffe000001 04 40 20 80     eth0
";

    #[test]
    fn what_is_advertised_follows_what_is_configured_and_listened_on() {
        let any: SocketAddr = "0.0.0.0:4747".parse().unwrap();
        let any6: SocketAddr = "[::]:4747".parse().unwrap();
        assert_eq!(of_interfaces(any, FIB, V6), ["192.168.7.9:4747", "127.0.0.1:4747"]);
        assert_eq!(
            of_interfaces(any6, FIB, V6),
            ["192.168.7.9:4747", "[2001:db8::2]:4747", "127.0.0.1:4747"]
        );
        assert_eq!(of_interfaces(any, "", ""), ["127.0.0.1:4747"]);
        assert_eq!(advertised(&[], "10.0.0.1:99".parse().unwrap()), ["10.0.0.1:99"]);
        let configured = ["home.example".to_owned(), "::1".to_owned(), "a:1".to_owned()];
        assert_eq!(advertised(&configured, any), ["home.example:4747", "[::1]:4747", "a:1"]);
    }
}
