//! `driftless plan`: what the next round would do.

use super::asking::{ask, unexpected};
use super::table::{count, printable, table};
use super::{Context, Outcome};
use crate::daemon::control::{Answer, Failure, FolderPlanAnswer, Request};

/// Flags of `plan`.
#[derive(Debug, clap::Args)]
pub(super) struct PlanFlags {
    /// Only this folder [default: all]
    #[arg(long, value_name = "NAME")]
    folder: Option<String>,
}

pub(super) fn run(flags: PlanFlags, context: &Context) -> Result<Outcome, Failure> {
    match ask(context, &Request::Plan { folder: flags.folder })? {
        Answer::Plan(plan) => context
            .output
            .answer(&plan, || plan.plans.iter().map(text).collect::<Vec<_>>().join("\n")),
        _ => Err(unexpected(&context.home)),
    }
}

fn text(plan: &FolderPlanAnswer) -> String {
    let name = printable(&plan.name);
    if plan.steps.is_empty() && plan.waiting.is_empty() {
        return format!("{name}: nothing to do");
    }
    let mut rows: Vec<Vec<String>> = Vec::new();
    for step in &plan.steps {
        let from = step.from.as_deref().map(|from| format!(" (from {from})")).unwrap_or_default();
        let way = format!("  {} {}", step.direction, step.action);
        rows.push(vec![way, format!("{}{from}", step.path)]);
    }
    for wait in &plan.waiting {
        rows.push(vec!["  waits".to_owned(), format!("{}: {}", wait.path, wait.reason)]);
    }
    format!("{name}: {}\n{}", count(plan.steps_total, "step", "steps"), table(&rows))
}
