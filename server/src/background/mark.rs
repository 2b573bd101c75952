//! Walking what the versions of a folder reach.
//!
//! Owns the way from roots over pages to chunks. A folder with a page that cannot be read is not
//! traced, and then nothing of it is reclaimed. It must not know what becomes of what is not reached.

use super::gc::GcError;
use super::metadata::Metadata;
use super::pace::Pace;
use super::report::Problem;
use crate::chunk_store::{ChunkKey, Reclaim, StoreError};
use common::chunk::read_clear_page;
use common::ids::{ChunkId, FolderId};
use common::record::Root;
use server_core::gc::Marks;
use server_core::metadata::RootCursor;
use std::sync::Arc;

/// Roots that are read at a time.
const ROOTS: usize = 2048;

/// Reads what there is of one folder.
pub(super) struct Tracer<'a> {
    pub(super) meta: &'a Metadata,
    pub(super) chunks: &'a Arc<dyn Reclaim>,
    pub(super) folder: FolderId,
}

/// Roots of a folder, a page after the other.
pub(super) struct Roots {
    after: Option<RootCursor>,
    ended: bool,
}

impl Roots {
    pub(super) const fn new() -> Self {
        Self { after: None, ended: false }
    }

    /// The next roots; none at the end. A version that is kept from the first call to the last is
    /// among them.
    pub(super) async fn next(&mut self, tracer: &Tracer<'_>) -> Result<Vec<Root>, GcError> {
        if self.ended {
            return Ok(Vec::new());
        }
        let (folder, after) = (tracer.folder, self.after);
        let rows =
            tracer.meta.read(move |reads| reads.roots(&folder, after.as_ref(), ROOTS)).await?;
        self.ended = rows.len() < ROOTS;
        self.after = rows.last().map(|(at, _)| *at);
        Ok(rows.into_iter().map(|(_, root)| root).collect())
    }
}

impl Tracer<'_> {
    /// Everything that the folder's versions reach; the inner error is what kept it from being found
    /// out.
    pub(super) async fn mark(&self, pace: &dyn Pace) -> Result<Result<Marks, Problem>, GcError> {
        let (mut marks, mut roots, mut problems) = (Marks::new(), Roots::new(), Vec::new());
        loop {
            let page = roots.next(self).await?;
            if page.is_empty() {
                return Ok(Ok(marks));
            }
            for root in page {
                self.reach(&root, &mut marks, &mut |_, _| {}, &mut problems).await?;
                if let Some(problem) = problems.pop() {
                    return Ok(Err(problem));
                }
            }
            pace.breathe().await;
        }
    }

    /// Marks what a root reaches, and tells of each object that was not reached before (or of a page
    /// that was not reached as one). Goes on beside a page that cannot be read, and says so.
    pub(super) async fn reach(
        &self,
        root: &Root,
        marks: &mut Marks,
        found: &mut (dyn FnMut(ChunkId, u8) + Send),
        problems: &mut Vec<Problem>,
    ) -> Result<(), GcError> {
        let mut open = vec![(root.id, root.level)];
        while let Some((id, level)) = open.pop() {
            let is_new = !marks.is_reached(&id);
            let is_page_to_walk = marks.reach(&id, level);
            if is_new || is_page_to_walk {
                found(id, level);
            }
            if is_page_to_walk {
                match self.children(&id, level).await? {
                    Ok(children) => open.extend(children.into_iter().map(|id| (id, level - 1))),
                    Err(problem) => problems.push(problem),
                }
            }
        }
        Ok(())
    }

    /// The children of a page.
    async fn children(
        &self,
        id: &ChunkId,
        level: u8,
    ) -> Result<Result<Vec<ChunkId>, Problem>, GcError> {
        let key = ChunkKey { folder: self.folder, id: *id };
        let problem = |what: &str| Ok(Err(Problem::new(Some(&self.folder), Some(id), what)));
        match self.chunks.get(key).await {
            Ok(Some(bytes)) => match read_clear_page(id, &bytes, &self.folder) {
                Ok(page) if page.level == level => Ok(Ok(page.ids)),
                Ok(_) => problem("a page is of another level than what names it says"),
                Err(error) => problem(&format!("a page cannot be read: {error}")),
            },
            Ok(None) => problem("a page is missing"),
            Err(StoreError::Damaged { .. }) => problem("a page is damaged"),
            Err(error) => Err(error.into()),
        }
    }
}
