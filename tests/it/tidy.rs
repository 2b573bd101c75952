//! The rules of the house hold for every file of the repository.

use std::path::Path;
use tests::tidy::{Workspace, report};

#[test]
fn the_house_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let workspace = Workspace::load(&root).unwrap_or_else(|error| panic!("{error}"));
    assert!(workspace.rust().count() > 100, "the walk lost most of the repository");
    let violations = report(&workspace);
    assert!(
        violations.is_empty(),
        "{} places break the rules of the house:\n{}",
        violations.len(),
        violations.join("\n")
    );
}
