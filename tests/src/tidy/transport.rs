//! Where QUIC may be known: the device's `remote/`, the server's `listen/` and `cluster/`.
//!
//! Everything else speaks to traits, so that the simulation can stand in for the network.

use super::source::has_word;
use super::{Violation, Workspace};

const ROOMS: &[&str] = &["client/src/remote/", "server/src/listen/", "server/src/cluster/"];
const CRATES: &[&str] = &["quinn", "quinn_proto", "quinn_udp"];

pub(super) fn check(workspace: &Workspace) -> Vec<Violation> {
    let mut found = Vec::new();
    for (path, source) in workspace.rust() {
        if ROOMS.iter().any(|room| path.starts_with(room)) {
            continue;
        }
        for (line, code) in source.code() {
            if let Some(name) = CRATES.iter().find(|name| has_word(code, name)) {
                let message = format!("{name} is for {ROOMS:?} alone: speak to their traits");
                found.push(Violation::at(path, line, message));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quic_outside_its_rooms_is_found() {
        for (path, text, count) in [
            ("client/src/engine/run.rs", "use quinn::Connection;", 1),
            ("tests/src/a.rs", "let a: quinn_proto::Side;", 1),
            ("client/src/remote/dial.rs", "use quinn::Connection;", 0),
            ("client/src/engine/run.rs", "// quinn is elsewhere", 0),
        ] {
            assert_eq!(check(&Workspace::of(&[(path, text)])).len(), count, "{path} {text}");
        }
    }
}
