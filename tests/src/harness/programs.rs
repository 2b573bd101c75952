//! Where the built programs are.

use anyhow::{Result, bail};
use std::path::{Path, PathBuf};

/// The two programs, built with the profile of the running test.
#[derive(Clone, Debug)]
pub struct Programs {
    directory: PathBuf,
}

impl Programs {
    /// Finds them beside the running test: cargo puts a test in `deps` below the programs.
    ///
    /// # Errors
    /// If they are not built; cargo builds the programs of other packages only when asked.
    pub fn locate() -> Result<Self> {
        let test = std::env::current_exe()?;
        let directory = test.parent().and_then(Path::parent).map(Path::to_owned);
        let found = Self { directory: directory.unwrap_or_default() };
        for program in [found.device(), found.server()] {
            if !program.is_file() {
                bail!(
                    "{} is not built; run `cargo build -p client -p server --bins` first, as \
                     tests/run does",
                    program.display()
                );
            }
        }
        Ok(found)
    }

    /// `driftless`.
    #[must_use]
    pub fn device(&self) -> PathBuf {
        self.directory.join("driftless")
    }

    /// `driftless-server`.
    #[must_use]
    pub fn server(&self) -> PathBuf {
        self.directory.join("driftless-server")
    }
}
