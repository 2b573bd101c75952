//! Giving the disk back what is dead in segments.
//!
//! Owns the order of copies, and what happens without room for them. Which segments are worth it is
//! decided in `server_core::gc`.

use super::gc::{Collector, GcError};
use super::pace::Pace;
use super::report::{GcReport, Problem};
use crate::chunk_store::StoreError;
use server_core::gc::worth_compacting;
use std::collections::VecDeque;

impl Collector {
    /// Gives the disk back what is dead in segments.
    pub(super) async fn compact(
        &self,
        report: &mut GcReport,
        pace: &dyn Pace,
    ) -> Result<(), GcError> {
        self.drop_empty(report).await?;
        let mut plan = VecDeque::from(worth_compacting(self.segments().await?));
        let mut retried = false;
        while let Some(segment) = plan.pop_front() {
            match self.chunks.compact(segment.number).await {
                Ok(done) => {
                    report.compacted += 1;
                    report.moved_bytes += done.moved.bytes;
                    if done.damaged > 0 {
                        let what = format!(
                            "{} damaged chunks keep segment {}",
                            done.damaged, segment.number
                        );
                        report.problem(Problem::new(None, None, &what));
                    }
                }
                // What was copied so far may have emptied others.
                Err(StoreError::DiskFull { .. }) if !retried => {
                    retried = true;
                    self.drop_empty(report).await?;
                    plan.push_front(segment);
                }
                Err(StoreError::DiskFull { .. }) => {
                    report.lacked_bytes = segment.live_bytes;
                    break;
                }
                Err(error) => return Err(error.into()),
            }
            pace.breathe().await;
        }
        self.drop_empty(report).await?;
        report.freed_bytes = report.freed_bytes.saturating_sub(report.moved_bytes);
        Ok(())
    }

    async fn drop_empty(&self, report: &mut GcReport) -> Result<(), GcError> {
        let dropped = self.chunks.drop_empty().await?;
        report.dropped += dropped.segments;
        report.freed_bytes += dropped.bytes;
        Ok(())
    }
}
