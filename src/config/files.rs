//! Knows which files a configuration is read from: the one that is named and its drop-ins, in their order.
//! Never: what a text says.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::toml_file::{File, Problem};

/// Most drop-ins that a file may have.
const DROP_INS_MAX: usize = 1000;

/// What a configuration is read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Occasion {
    /// A daemon that starts, or a check.
    Start,
    /// A daemon that runs already.
    Reload,
}

/// The directory of the drop-ins of the file at `config`: its path with `.d` in place of `.toml`. None if the path ends
/// otherwise.
pub fn drop_in_dir(config: &Path) -> Option<PathBuf> {
    config.extension().filter(|extension| *extension == "toml").map(|_| config.with_extension("d"))
}

/// The file at `path` and its drop-ins in the order of their names. What cannot be read is added to `problems`.
pub(super) fn read(path: &Path, occasion: Occasion, problems: &mut Vec<Problem>) -> Vec<File> {
    let mut paths = vec![path.to_owned()];
    match drop_in_dir(path).map_or_else(|| Ok(Vec::new()), |dir| drop_ins(&dir)) {
        Ok(drop_ins) => paths.extend(drop_ins),
        Err(problem) => problems.push(problem),
    }
    let mut files = Vec::new();
    for (nth, path) in paths.into_iter().enumerate() {
        match load(nth, &path, occasion) {
            Ok(file) => files.push(file),
            Err(problem) => problems.push(problem),
        }
    }
    files
}

/// The paths of the drop-ins in `dir`, in order.
fn drop_ins(dir: &Path) -> Result<Vec<PathBuf>, Problem> {
    let wrong = |why: String| Problem::of_file(1, dir, &why);
    let unreadable = |error| wrong(format!("cannot be read: {error}"));
    let entries = match fs::read_dir(dir) {
        // A link that leads nowhere is no absent directory: what it led to is missing.
        Err(error) if error.kind() == ErrorKind::NotFound && !dir.is_symlink() => return Ok(Vec::new()),
        entries => entries.map_err(unreadable)?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(unreadable)?.path();
        if is_drop_in(&path) {
            paths.push(path);
        }
        if paths.len() > DROP_INS_MAX {
            return Err(wrong(format!("holds more than {DROP_INS_MAX} drop-ins")));
        }
    }
    paths.sort();
    Ok(paths)
}

/// Neither hidden, nor a backup or a half installed file, which end otherwise, nor a directory.
fn is_drop_in(path: &Path) -> bool {
    let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    !is_hidden && path.extension() == Some(OsStr::new("toml")) && !path.is_dir()
}

/// The file at `path`, if it may be read on this occasion.
fn load(nth: usize, path: &Path, occasion: Occasion) -> Result<File, Problem> {
    let wrong = |why| Err(Problem::of_file(nth, path, why));
    // What is in others may come once, or never. Of any other fault, reading will learn too.
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        match (nth, occasion) {
            (0, Occasion::Start) => {}
            (0, Occasion::Reload) => return wrong("is no regular file; it cannot be read again"),
            _ => return wrong("is no regular file, as a drop-in must be"),
        }
    }
    let file = File::load(nth, path)?;
    if occasion == Occasion::Reload && file.text.trim_start().is_empty() {
        return wrong("is empty, as a file is that is being written; a comment says that it sets nothing");
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::*;

    /// The names of the files below `dir` that are read, and what is wrong with the others.
    fn read_in(dir: &Path, occasion: Occasion) -> (Vec<String>, Vec<String>) {
        let mut problems = Vec::new();
        let files = read(&dir.join("t.toml"), occasion, &mut problems);
        let name = |path: &Path| path.strip_prefix(dir).unwrap().to_string_lossy().into_owned();
        let root = format!("{}/", dir.display());
        problems.sort();
        (
            files.iter().map(|file| name(&file.path)).collect(),
            problems.into_iter().map(|problem| problem.text.replace(&root, "")).collect(),
        )
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.toml");
        let load = |occasion| {
            let text = |problem: Problem| problem.text.replace(&path.display().to_string(), "");
            load(0, &path, occasion).map(|file| file.text).map_err(text)
        };
        let told = |occasion| load(occasion).expect_err("fault");
        assert!(told(Occasion::Start).starts_with(": cannot be read: No such file"));
        assert_eq!(told(Occasion::Reload), told(Occasion::Start));
        fs::write(&path, b"host = 'a'\nlog_level = '\xff'").unwrap();
        assert_eq!(told(Occasion::Start), ":2: is no UTF-8 text, as TOML must be");
        fs::write(&path, " ".repeat((1 << 20) + 1)).unwrap();
        assert_eq!(told(Occasion::Start), ": is no configuration: it is longer than 1048576 bytes");
        fs::write(&path, " ".repeat(1 << 20)).unwrap();
        assert_eq!(load(Occasion::Start).map(|text| text.len()), Ok(1 << 20));
        for empty in ["", " ", "\r\n\t\n"] {
            fs::write(&path, empty).unwrap();
            assert_eq!(load(Occasion::Start), Ok(empty.to_owned()));
            assert!(told(Occasion::Reload).starts_with(": is empty, "), "{empty:?}");
        }
        fs::write(&path, "#").unwrap();
        assert_eq!(load(Occasion::Reload), Ok("#".to_owned()));
        fs::remove_file(&path).unwrap();
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        assert_eq!(told(Occasion::Reload), ": is no regular file; it cannot be read again");
    }

    #[test]
    fn a_path_that_ends_otherwise_has_no_drop_ins() {
        for (path, dir) in [
            ("/etc/telexd.toml", Some("/etc/telexd.d")),
            ("/etc/telexd/a.b.toml", Some("/etc/telexd/a.b.d")),
            ("x.toml", Some("x.d")),
            ("/etc/telexd.conf", None),
            ("/etc/telexd", None),
            ("/etc/telexd.toml~", None),
            ("/etc/telexd.TOML", None),
            ("/etc/.toml", None),
            ("/etc/.toml/x", None),
            ("", None),
        ] {
            assert_eq!(drop_in_dir(Path::new(path)).as_deref(), dir.map(Path::new), "{path}");
        }
    }

    #[test]
    fn drop_ins_are_read_in_the_order_of_their_names() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("t.toml"), "#").unwrap();
        assert_eq!(read_in(dir.path(), Occasion::Reload), (vec!["t.toml".into()], vec![]), "no directory");
        fs::create_dir(at("t.d")).unwrap();
        for name in ["9.toml", "10.toml", "a b.toml", "A.toml", "ä.toml"] {
            fs::write(at("t.d").join(name), "#").unwrap();
        }
        // What other programs leave there, and what is meant for nobody.
        let others =
            [".x.toml", ".toml", "x.toml~", "x.toml.dpkg-new", "x.toml.bak", "x.conf", "toml", "#x.toml#"];
        for name in others {
            fs::write(at("t.d").join(name), "no TOML").unwrap();
        }
        fs::create_dir(at("t.d/sub.toml")).unwrap();
        fs::write(at("t.d/sub.toml/x.toml"), "no TOML").unwrap();
        fs::write(at("elsewhere"), "#").unwrap();
        symlink("../elsewhere", at("t.d/linked.toml")).unwrap();
        symlink("sub.toml", at("t.d/linked_sub.toml")).unwrap();
        fs::write(at("t.d").join(OsStr::from_bytes(b"\xff.toml")), "#").unwrap();
        let wanted = [
            "t.toml",
            "t.d/10.toml",
            "t.d/9.toml",
            "t.d/A.toml",
            "t.d/a b.toml",
            "t.d/linked.toml",
            "t.d/ä.toml",
            "t.d/\u{fffd}.toml",
        ];
        for occasion in [Occasion::Start, Occasion::Reload] {
            assert_eq!(read_in(dir.path(), occasion), (wanted.map(str::to_owned).to_vec(), vec![]));
        }
    }

    #[test]
    fn a_drop_in_that_cannot_be_read_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("t.toml"), "#").unwrap();
        fs::create_dir(at("t.d")).unwrap();
        mkfifo(&at("t.d/fifo.toml"), Mode::S_IRWXU).unwrap();
        symlink("/dev/null", at("t.d/null.toml")).unwrap();
        // As one looks that is gone before it is read.
        symlink("nowhere", at("t.d/gone.toml")).unwrap();
        fs::write(at("t.d/binary.toml"), b"#\n#\n\xff").unwrap();
        fs::write(at("t.d/empty.toml"), "\n").unwrap();
        let mut wanted = vec![
            "t.d/binary.toml:3: is no UTF-8 text, as TOML must be",
            "t.d/fifo.toml: is no regular file, as a drop-in must be",
            "t.d/gone.toml: cannot be read: No such file or directory (os error 2)",
            "t.d/null.toml: is no regular file, as a drop-in must be",
        ];
        let (read, problems) = read_in(dir.path(), Occasion::Start);
        assert_eq!(read, ["t.toml", "t.d/empty.toml"]);
        assert_eq!(problems, wanted);
        wanted.insert(
            1,
            "t.d/empty.toml: is empty, as a file is that is being written; a comment says that it sets nothing",
        );
        let (read, problems) = read_in(dir.path(), Occasion::Reload);
        assert_eq!(read, ["t.toml"]);
        assert_eq!(problems, wanted);
    }

    #[test]
    fn a_directory_that_cannot_be_read_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let told = || read_in(dir.path(), Occasion::Start).1;
        let no_file = "t.toml: cannot be read: No such file or directory (os error 2)";
        fs::write(at("t.d"), "").unwrap();
        assert_eq!(told(), [no_file, "t.d: cannot be read: Not a directory (os error 20)"]);
        fs::remove_file(at("t.d")).unwrap();
        symlink("nowhere", at("t.d")).unwrap();
        assert_eq!(told(), [no_file, "t.d: cannot be read: No such file or directory (os error 2)"]);
        fs::remove_file(at("t.d")).unwrap();
        fs::create_dir(at("t.d")).unwrap();
        for n in 0..DROP_INS_MAX {
            fs::write(at("t.d").join(format!("{n}.toml")), "").unwrap();
        }
        assert_eq!(told(), [no_file]);
        fs::write(at("t.d/x.toml"), "").unwrap();
        assert_eq!(told(), [no_file, "t.d: holds more than 1000 drop-ins"]);
    }
}
