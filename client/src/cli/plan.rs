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
    let mut rows: Vec<Vec<String>> = Vec::new();
    rows.extend(plan.stopped.iter().map(|why| vec!["  stopped".to_owned(), why.clone()]));
    for step in &plan.steps {
        let from = step.from.as_deref().map(|from| format!(" (from {from})")).unwrap_or_default();
        let way = format!("  {} {}", step.direction, step.action);
        rows.push(vec![way, format!("{}{from}", step.path)]);
    }
    for wait in &plan.waiting {
        rows.push(vec!["  waits".to_owned(), format!("{}: {}", wait.path, wait.reason)]);
    }
    let steps = match (&plan.stopped, plan.steps_total, plan.waiting.is_empty()) {
        (None, 0, true) => return format!("{name}: nothing to do"),
        (Some(_), 0, _) => "stopped; no steps known".to_owned(),
        (None, steps, _) => count(steps, "step", "steps"),
        (Some(_), steps, _) => format!("{} when it goes on", count(steps, "step", "steps")),
    };
    format!("{name}: {steps}\n{}", table(&rows))
}
