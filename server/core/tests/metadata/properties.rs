//! Random groups against the naive model: whatever is accepted leaves a tree (S11), and the service
//! accepts exactly what the model does.

use crate::model::{Model, step};
use crate::world::World;
use proptest::prelude::*;
use server_core::metadata::memory::MemoryStore;
use server_core::metadata::query;

/// Cases without `PROPTEST_CASES`.
const CASES: u32 = 300;

fn config() -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig::with_cases(asked.unwrap_or(CASES))
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn s11_random_groups_are_accepted_as_the_model_does_and_leave_a_tree(
        groups in prop::collection::vec(prop::collection::vec(step(), 1..6), 1..25)
    ) {
        let mut world = World::new(MemoryStore::new());
        let mut model = Model::default();
        let mut history = Vec::new();
        for steps in &groups {
            let changes = steps.iter().map(|step| model.change(step)).collect();
            let (revision, _) = world.digest();
            let expected = model.after(steps, revision + 1);
            let before = world.digest();
            let outcome = world.commit(0, changes);
            prop_assert_eq!(outcome.revision().is_some(), expected.is_some(), "{:?}", outcome);
            match expected {
                Some(next) => model = next,
                None => prop_assert_eq!(world.digest(), before),
            }
            let tree: Vec<_> =
                world.tree().into_iter().map(|(entry, parent, name, _)| (entry, parent, name)).collect();
            prop_assert_eq!(&tree, &model.live());
            history.push(world.digest());
        }
        for (at, digest) in history {
            let now = query::register_digest(&world.store, &world.folder, at).unwrap();
            prop_assert_eq!(now, digest);
        }
    }
}
