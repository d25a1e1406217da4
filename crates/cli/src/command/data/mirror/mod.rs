//! `cloudpal drive mirror`: a plan first, then as much of it as is wanted. Nothing is deleted unasked, and the last file
//! of a side not even then.

mod folder;
mod plan;

use super::args::Mirror;
use super::ticks::Ticks;
use super::{Desk, Place};
use crate::failure::{Exit, Failure};
use crate::local::failure::failed;
use crate::printable::word;
use crate::remote::mirror::{Mirror as Far, Target};
use crate::terminal::{Format, Report};
use crate::told::count;
use cloudpal_drive::folder::LocalFolder;
use cloudpal_drive::mirror::{Mirrored, Op, Progress, Run, Surplus, Watch};
use cloudpal_shelf::Kind;
use folder::OfFolder;
use plan::Plan;
use std::ops::ControlFlow;

/// Lines of a plan that are shown before a question.
const SHOWN: usize = 20;

/// A drive and a folder, one of which is to become equal to the other.
trait Sides {
    /// Compares them, and changes one side if it is a real run.
    fn mirror(&mut self, surplus: Surplus, run: Run, watch: Watch<'_>) -> Result<Mirrored, Failure>;
    /// The drive's version.
    fn version(&self) -> u64;
}

impl Sides for Far<'_> {
    fn mirror(&mut self, surplus: Surplus, run: Run, watch: Watch<'_>) -> Result<Mirrored, Failure> {
        self.run(surplus, run, watch)
    }

    fn version(&self) -> u64 {
        self.version()
    }
}

/// The side to be changed.
fn name(target: Target) -> &'static str {
    match target {
        Target::Drive => "the drive",
        Target::Folder => "the folder",
    }
}

/// Runs the command.
pub fn run(desk: Desk<'_>, wanted: &Mirror) -> Result<(), Failure> {
    let is_new = wanted.to.as_ref().is_some_and(|folder| !folder.exists());
    let (folder, target) = local_side(wanted)?;
    let version = wanted.at_version;
    let report = match desk.open(&wanted.at)? {
        Place::Folder(shelf) => {
            let drive = shelf.drive(&shelf.find(Kind::Drive, &wanted.name)?)?;
            let mut sides = OfFolder::new(drive, version, folder, target)?;
            let report = carry_out(desk, wanted, target, &mut sides)?;
            drop(sides);
            shelf.close()?;
            report
        }
        Place::Pal(pal) => {
            let mut sides = Far::new(&pal, &wanted.name, version, folder, target)?;
            if sides.faulty() > 0 {
                desk.terminal.warn(&format!("{} entries of the drive cannot be read", sides.faulty()));
            }
            carry_out(desk, wanted, target, &mut sides)?
        }
    };
    if let (true, true, Some(folder)) = (wanted.dry_run, is_new, &wanted.to) {
        // It was made to be compared with; if it has been filled meanwhile it stays.
        std::fs::remove_dir(folder).ok();
    }
    desk.terminal.print(&report)
}

fn local_side(wanted: &Mirror) -> Result<(LocalFolder, Target), Failure> {
    match (&wanted.from, &wanted.to) {
        (Some(folder), _) => Ok((LocalFolder::open(folder).map_err(failed)?, Target::Drive)),
        (None, Some(folder)) => Ok((LocalFolder::create(folder).map_err(failed)?, Target::Folder)),
        (None, None) => Err(Failure::new(Exit::Usage, "say --from FOLDER or --to FOLDER")),
    }
}

fn carry_out(
    desk: Desk<'_>,
    wanted: &Mirror,
    target: Target,
    sides: &mut dyn Sides,
) -> Result<Report, Failure> {
    let before = sides.version();
    let plan = told(desk, "compared", |watch| sides.mirror(Surplus::Delete, Run::Dry, watch))?;
    if wanted.dry_run {
        let surplus = if wanted.delete { Surplus::Delete } else { Surplus::Keep };
        refuse_emptying(wanted, target, &plan)?;
        return Ok(plan.foreseen(surplus, before));
    }
    let surplus = decide(desk, wanted, target, &plan)?;
    let done = told(desk, "done", |watch| sides.mirror(surplus, Run::Real, watch))?;
    let kept = if surplus == Surplus::Keep { plan.done.removed } else { 0 };
    Ok(done.report(target, kept, before, sides.version()))
}

/// Follows a mirror: what it does is noted, and told if it takes its time.
fn told(
    desk: Desk<'_>,
    how: &str,
    mirror: impl FnOnce(Watch<'_>) -> Result<Mirrored, Failure>,
) -> Result<Plan, Failure> {
    let mut plan = Plan::default();
    let mut ticks = Ticks::new(desk.app.progress);
    let mut files = 0_u64;
    plan.done = mirror(&mut |progress| {
        match progress {
            Progress::Step(step) => {
                files += 1;
                ticks.tell(|| format!("{files} files {how}, now {}", word(step.path)));
                plan.note(&step);
            }
            Progress::Bytes { path, done, total } => {
                ticks.tell(|| format!("{}: {} of {} MiB", word(path), done >> 20, total >> 20));
            }
        }
        ControlFlow::Continue(())
    })?;
    Ok(plan)
}

/// What happens to files that only the side to be changed has.
fn decide(desk: Desk<'_>, wanted: &Mirror, target: Target, plan: &Plan) -> Result<Surplus, Failure> {
    if plan.done.removed == 0 || wanted.keep {
        return Ok(Surplus::Keep);
    }
    if wanted.delete {
        refuse_emptying(wanted, target, plan)?;
        return Ok(Surplus::Delete);
    }
    if desk.terminal.format() == Format::Json || !desk.terminal.confirms(&question(target, plan), "delete")? {
        return Ok(Surplus::Keep);
    }
    Ok(Surplus::Delete)
}

fn question(target: Target, plan: &Plan) -> String {
    let surplus: Vec<_> = plan.steps.iter().filter(|step| step.op == Op::Remove).collect();
    let mut lines: Vec<_> = surplus.iter().take(SHOWN).map(|step| step.line(Surplus::Delete)).collect();
    if surplus.len() > SHOWN {
        lines.push(format!("and {} more; --dry-run shows all of them", surplus.len() - SHOWN));
    }
    let what = if plan.empties() { ", AND NOTHING ELSE IS THERE" } else { "" };
    lines.push(format!("{} only in {}{what}.", count(plan.done.removed, "file"), name(target)));
    lines.push("Type `delete` to delete them, or press Enter to keep them:".into());
    lines.join("\n")
}

/// A source that is empty is more often a disk that is not mounted than a wish.
fn refuse_emptying(wanted: &Mirror, target: Target, plan: &Plan) -> Result<(), Failure> {
    if !wanted.delete || wanted.allow_empty || !plan.empties() {
        return Ok(());
    }
    let message = format!(
        "this would delete {}, all that is in {}; if it is meant, say --allow-empty too",
        count(plan.done.removed, "file"),
        name(target)
    );
    Err(Failure::new(Exit::WouldLose, message))
}
