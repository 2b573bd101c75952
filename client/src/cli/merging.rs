//! Merging by hand: a configured merge tool, or an editor on a text with marks.
//!
//! Owns the files that such a program works on, which lie in the home and never in a synced folder,
//! and what it means when it fails. What a person has written is never thrown away: where it cannot be
//! taken, the message says where it lies. No program is started by a shell.

use super::Context;
use super::table::printable;
use crate::daemon::control::{Failure, MergeAnswer};
use client_core::merge::{Unmergeable, text};
use common::limits::NAME_BYTES_MAX;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program that merges, in words; one of a merge tool names the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Program {
    /// A configured merge tool.
    Tool(Vec<String>),
    /// An editor, to which the file is added.
    Editor(Vec<String>),
}

impl Program {
    fn words(&self) -> &[String] {
        match self {
            Self::Tool(words) | Self::Editor(words) => words,
        }
    }

    /// What its failures are called.
    const fn kind(&self) -> &'static str {
        match self {
            Self::Tool(_) => "merge_tool",
            Self::Editor(_) => "editor",
        }
    }
}

/// Failures that say that there is no such conflict any more.
const SETTLED: [&str; 3] = ["no_conflict", "no_such_path", "side_gone"];
/// What directories of merges are called, followed by numbers.
const PREFIX: &str = "merge-";
/// What the files of the sides end in.
const SIDES: [&str; 3] = ["base", "mine", "theirs"];

/// The directory of a merge that a person makes, or has made.
pub(super) struct Kept {
    directory: PathBuf,
    /// As it was asked for: a command from the same place takes it.
    asked: String,
    /// Relative to the folder.
    path: String,
    /// The text with marks.
    given: String,
}

impl Kept {
    /// Removes it with all that is in it: what a person made of it was taken.
    pub(super) fn discard(&self) {
        note(fs::remove_dir_all(&self.directory));
    }

    /// A failure that says where the result lies. A text in which nobody has written is not kept.
    pub(super) fn failed(&self, failure: Failure) -> Failure {
        let merged = self.merged();
        let is_nothing = match fs::read(&merged) {
            Ok(bytes) => bytes.is_empty() || bytes == self.given.as_bytes(),
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        if is_nothing {
            remove(&merged);
        }
        self.tidy();
        if !self.directory.exists() {
            return failure;
        }
        let hint = match failure.hint.is_empty() {
            true => String::new(),
            false => format!("{}; ", failure.hint),
        };
        if is_nothing {
            let left = self.directory.display();
            return Failure {
                hint: format!("{hint}what the program left is in {left}"),
                ..failure
            };
        }
        let kept = format!("what you wrote is kept in {}", merged.display());
        let (asked, with) = (quoted(&self.asked), quoted(&merged.to_string_lossy()));
        let then = match SETTLED.contains(&failure.kind.as_str()) {
            true => format!("look at {} for what is missing there", printable(&self.path)),
            false => format!("`driftless resolve {asked} --with {with}` takes it"),
        };
        let hint = format!("{hint}{kept}: {then}");
        Failure { hint, ..failure }
    }

    /// Removes what was only there for the program, and the directory if nothing else is in it.
    fn tidy(&self) {
        for which in SIDES {
            remove(&side(self, which));
        }
        remove_empty(&self.directory);
    }

    /// Refuses a result that no merge of two texts is, and most likely an accident.
    fn check(&self, kind: &str, merge: &MergeAnswer) -> Result<(), Failure> {
        let path = &merge.path;
        let refused = |what: &str, hint: &str| {
            Err(Failure::new(kind, format!("{path}: {what}; nothing was resolved"), hint))
        };
        match fs::read(self.merged()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => refused(
                "the file with the result is gone",
                "merge again and write the result there, or give it with --with FILE",
            ),
            Err(error) => refused(
                &format!("the result cannot be read ({error})"),
                "merge again, or give the result with --with FILE",
            ),
            Ok(bytes) if bytes.is_empty() && !merge.mine.is_empty() && !merge.theirs.is_empty() => {
                refused(
                    "the result is empty, and no side is",
                    "merge again; if it is to be empty, give an empty file with --with FILE",
                )
            }
            Ok(bytes) if matches!(text(&bytes), Err(Unmergeable::NotText)) => {
                refused("the result is no text, and both sides are", "")
            }
            Ok(_) => Ok(()),
        }
    }

    /// The file with the result.
    pub(super) fn merged(&self) -> PathBuf {
        let name = Path::new(&self.path).file_name().map_or("merged".into(), OsString::from);
        self.directory.join(name)
    }
}

/// The program to merge with: the tool of the configuration, else on a terminal the user's editor.
/// `None` when there is none that could be used here.
pub(super) fn program(context: &Context) -> Result<Option<Program>, Failure> {
    if let Some(tool) = context.home.config()?.merge_tool {
        let words = words(&tool).filter(|words| words.iter().any(|word| word.contains("{merged}")));
        let wrong = || {
            let message = format!("merge_tool of the configuration cannot be used: {tool}");
            let hint = "write it as merge_tool = \"PROGRAM {mine} {base} {theirs} {merged}\"";
            Failure::new("merge_tool", message, hint)
        };
        return words.map(Program::Tool).ok_or_else(wrong).map(Some);
    }
    if context.output.is_json() || !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Ok(None);
    }
    let editor = ["VISUAL", "EDITOR"].into_iter().find_map(|name| {
        std::env::var(name).ok().and_then(|text| words(&text)).filter(|words| !words.is_empty())
    });
    Ok(editor.map(Program::Editor))
}

/// Has a person merge. What is left of marks is for the folder's engine to find.
pub(super) fn edit(
    context: &Context,
    program: &Program,
    merge: &MergeAnswer,
    asked: &str,
) -> Result<Kept, Failure> {
    let failed = |error: io::Error| {
        let message = format!("the texts to merge could not be laid out: {error}");
        Failure::new("disk", message, "look at the disk of the home")
    };
    let directory = make_directory(context.home.path()).map_err(failed)?;
    let (path, given) = (merge.path.clone(), merge.text.clone());
    let kept = Kept { directory, asked: asked.to_owned(), path, given };
    if let Err(error) = lay_out(&kept, merge) {
        kept.discard();
        return Err(failed(error));
    }
    let ended = run(&kept, program, merge);
    match ended.and_then(|()| kept.check(program.kind(), merge)) {
        Ok(()) => Ok(kept),
        Err(failure) => Err(kept.failed(failure)),
    }
}

/// Removes the kept result of an earlier merge, which was taken, and its directory if that was all.
pub(super) fn taken(home: &Path, result: &Path) {
    let real = |path: &Path| fs::canonicalize(path).ok();
    let Some(directory) = result.parent().and_then(real) else { return };
    if !is_of_a_merge(&directory) || directory.parent().map(Path::to_owned) != real(home) {
        return;
    }
    remove(result);
    remove_empty(&directory);
}

/// Whether a directory is called as [`make_directory`] calls it.
fn is_of_a_merge(directory: &Path) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    let name = directory.file_name().and_then(|name| name.to_str());
    name.and_then(|name| name.strip_prefix(PREFIX)?.split_once('-'))
        .is_some_and(|(process, number)| is_number(process) && is_number(number))
}

fn remove(file: &Path) {
    note(fs::remove_file(file));
}

fn remove_empty(directory: &Path) {
    note(fs::remove_dir(directory));
}

/// What stays in the home is in nobody's way.
fn note(removed: io::Result<()>) {
    if let Err(error) = removed {
        tracing::debug!(%error, "a file of a merge is left in the home");
    }
}

/// A new directory: what an earlier process of this id has kept stays.
fn make_directory(home: &Path) -> io::Result<PathBuf> {
    let mut number = 0_u64;
    loop {
        let directory = home.join(format!("{PREFIX}{}-{number}", std::process::id()));
        match DirBuilder::new().mode(0o700).create(&directory) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            made => return made.map(|()| directory),
        }
    }
}

fn lay_out(kept: &Kept, merge: &MergeAnswer) -> io::Result<()> {
    let sides = SIDES.map(|which| side(kept, which));
    let texts = [&merge.base, &merge.mine, &merge.theirs];
    let laid_out = sides.into_iter().zip(texts);
    for (file, text) in laid_out.chain([(kept.merged(), &merge.text)]) {
        let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
        out.write_all(text.as_bytes())?;
    }
    Ok(())
}

/// The file of a side, which ends as the merged file does. A name that leaves no room for what tells the
/// sides apart is cut.
fn side(kept: &Kept, which: &str) -> PathBuf {
    let name = kept.merged().file_name().map(|name| name.to_string_lossy().into_owned());
    let name = name.unwrap_or_default();
    let end = name.floor_char_boundary(NAME_BYTES_MAX - which.len() - 1);
    kept.directory.join(format!("{}.{which}", name.get(..end).unwrap_or_default()))
}

fn run(kept: &Kept, program: &Program, merge: &MergeAnswer) -> Result<(), Failure> {
    let (kind, mut words) = (program.kind(), program.words().to_vec());
    if matches!(program, Program::Editor(_)) {
        words.push("{merged}".to_owned());
    }
    let fill = |word: &String| {
        let files = [
            ("{merged}", kept.merged()),
            ("{base}", side(kept, "base")),
            ("{mine}", side(kept, "mine")),
            ("{theirs}", side(kept, "theirs")),
        ];
        filled(word, &files)
    };
    let filled: Vec<String> = words.iter().map(fill).collect();
    let Some((name, arguments)) = filled.split_first() else { return Ok(()) };
    let path = &merge.path;
    let failed = |why: String| {
        let message = format!("{path}: {name} {why}; nothing was resolved");
        let hint =
            "look at what it said, at $VISUAL and $EDITOR, or give the result with --with FILE";
        Failure::new(kind, message, hint)
    };
    let status = Command::new(name).args(arguments).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(failed(format!("did not end well ({status})"))),
        Err(error) => Err(failed(format!("could not be started: {error}"))),
    }
}

/// A word with files in the places for them. What a file is called is no such place.
fn filled(word: &str, files: &[(&str, PathBuf)]) -> String {
    let (mut text, mut rest) = (String::new(), word);
    let first = |rest: &str| {
        let found =
            files.iter().filter_map(|(place, file)| Some((rest.find(place)?, place.len(), file)));
        found.min_by_key(|(at, ..)| *at).map(|(at, length, file)| (at, length, file.clone()))
    };
    while let Some((at, length, file)) = first(rest) {
        text.push_str(rest.get(..at).unwrap_or_default());
        text.push_str(&file.to_string_lossy());
        rest = rest.get(at + length..).unwrap_or_default();
    }
    text + rest
}

/// A command line as words: split at spaces, but for those between quotes. `None` when a quote is
/// not closed.
fn words(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.chars() {
        match quote {
            Some(closing) if c == closing => quote = None,
            Some(_) => word.get_or_insert_default().push(c),
            None if c == '"' || c == '\'' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c.is_whitespace() => words.extend(word.take()),
            None => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

/// A word as a shell reads it back.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::{
        Failure, Kept, NAME_BYTES_MAX, Path, PathBuf, filled, fs, quoted, side, taken, words,
    };
    use std::os::unix::fs::symlink;

    fn kept(home: &Path) -> Kept {
        let directory = home.join("merge-1-0");
        fs::create_dir(&directory).unwrap();
        let (asked, path, given) = ("a.txt".to_owned(), "a.txt".to_owned(), "marks".to_owned());
        let kept = Kept { directory, asked, path, given };
        for which in super::SIDES {
            fs::write(side(&kept, which), which).unwrap();
        }
        kept
    }

    fn left(kept: &Kept) -> Vec<String> {
        let entries = fs::read_dir(&kept.directory).into_iter().flatten();
        let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
        let mut names: Vec<_> = entries.map(|it| name(it).into_string().unwrap()).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn what_a_program_left_beside_the_result_is_not_thrown_away() {
        let failed = || Failure::new("editor", String::new(), "");
        for (result, beside, stays) in [
            (Some("marks"), None, vec![]),
            (Some(""), None, vec![]),
            (None, None, vec![]),
            (Some("written"), None, vec!["a.txt"]),
            (Some("marks"), Some(".a.txt.swp"), vec![".a.txt.swp"]),
            (None, Some("a.txt.new"), vec!["a.txt.new"]),
            (Some("written"), Some("a.txt~"), vec!["a.txt", "a.txt~"]),
        ] {
            let home = tempfile::tempdir().unwrap();
            let kept = kept(home.path());
            for (name, text) in [(Some("a.txt"), result), (beside, Some("later"))] {
                if let (Some(name), Some(text)) = (name, text) {
                    fs::write(kept.directory.join(name), text).unwrap();
                }
            }
            let hint = kept.failed(failed()).hint;
            assert_eq!(left(&kept), stays, "{result:?} {beside:?}");
            assert_eq!(kept.directory.exists(), !stays.is_empty());
            let is_said = hint.contains(&*kept.directory.to_string_lossy());
            assert_eq!(is_said, !stays.is_empty(), "{hint}");
        }
    }

    #[test]
    fn a_result_that_cannot_be_read_is_not_thrown_away() {
        let home = tempfile::tempdir().unwrap();
        let kept = kept(home.path());
        // Whoever runs this: a link to itself is read by nobody.
        symlink("a.txt", kept.merged()).unwrap();
        let hint = kept.failed(Failure::new("editor", String::new(), "")).hint;
        assert!(kept.merged().is_symlink() && hint.contains("kept in"), "{hint}");
    }

    #[test]
    fn only_the_directory_of_a_merge_goes_with_the_result_that_was_taken() {
        for (name, other, goes) in [
            ("merge-12-0", false, true),
            ("merge-12-0", true, false),
            ("merge-tools", false, false),
            ("merge-1-2-3", false, false),
            ("merge-1-", false, false),
        ] {
            let home = tempfile::tempdir().unwrap();
            let directory = home.path().join(name);
            fs::create_dir(&directory).unwrap();
            let result = directory.join("a.txt");
            fs::write(&result, "taken").unwrap();
            if other {
                fs::write(directory.join("another"), "mine").unwrap();
            }
            taken(home.path(), &result);
            assert_eq!(!directory.exists(), goes, "{name} {other}");
            assert_eq!(directory.join("another").exists(), other, "{name}");
            assert_eq!(result.exists(), !goes && !other, "{name}");
        }
    }

    #[test]
    fn the_command_that_takes_a_kept_result_can_be_given_to_a_shell_as_it_stands() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("it's a merge");
        fs::create_dir(&directory).unwrap();
        let path = "letters/to you.txt".to_owned();
        let (asked, given) = ("../to you.txt".to_owned(), String::new());
        let kept = Kept { directory, asked, path, given };
        fs::write(kept.merged(), "written").unwrap();
        let hint = kept.failed(Failure::new("marks_left", String::new(), "")).hint;
        let command = hint.split('`').nth(1).unwrap();
        let with = quoted(&kept.merged().to_string_lossy());
        assert_eq!(command, format!("driftless resolve '../to you.txt' --with {with}"));
        assert!(with.ends_with("/it'\\''s a merge/to you.txt'"), "{with}");
        assert_eq!(quoted("notes:a/b-2.txt"), "notes:a/b-2.txt");
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn a_command_line_is_split_into_words() {
        for (line, expected) in [
            ("vim", Some(vec!["vim"])),
            ("  code  --wait ", Some(vec!["code", "--wait"])),
            ("'/my editor/x' -a\"b c\"", Some(vec!["/my editor/x", "-ab c"])),
            ("meld {mine} '' {merged}", Some(vec!["meld", "{mine}", "", "{merged}"])),
            ("", Some(vec![])),
            ("vim 'x", None),
        ] {
            let expected = expected.map(|words: Vec<&str>| {
                words.into_iter().map(str::to_owned).collect::<Vec<String>>()
            });
            assert_eq!(words(line), expected, "{line}");
        }
    }

    #[test]
    fn a_file_that_is_called_like_a_place_for_one_is_filled_in_as_it_is() {
        let files = [("{mine}", "/m/{base}.mine"), ("{base}", "/m/{mine}.base")];
        let files = files.map(|(place, file)| (place, PathBuf::from(file)));
        assert_eq!(filled("-o={base}:{mine}", &files), "-o=/m/{mine}.base:/m/{base}.mine");
        assert_eq!(filled("{other} {min", &files), "{other} {min");
    }

    #[test]
    fn the_sides_of_a_file_with_a_long_name_have_names_that_a_disk_takes() {
        let directory = tempfile::tempdir().unwrap();
        let long = format!("{}é", "x".repeat(NAME_BYTES_MAX - 2));
        let kept = Kept { path: format!("d/{long}"), ..kept(directory.path()) };
        for which in super::SIDES {
            let side = side(&kept, which);
            assert!(side.to_string_lossy().ends_with(&format!("x.{which}")), "{side:?}");
            fs::write(side, "").unwrap();
        }
    }
}
