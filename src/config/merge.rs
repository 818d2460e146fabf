//! Knows what overlays what: defaults, globals, profiles, the command line, and of the same in several files the later.
//! Never: how a value is written.

use std::borrow::Cow;
use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::DeValue;

use super::command_line::CommandLine;
use super::files::{self, Occasion};
use super::merged::Merged;
use super::model::{Config, Listen, Machine, Sources};
use super::sections::{Entry, Sections};
use super::{plugin, profile, rule, setting};
use crate::toml_file::{self, ConfigError, File, Place, Problem, Wrong};

/// The settings of each profile and of its parents, the nearest first, by the profile's name.
type Chains<'s, 't> = BTreeMap<&'s str, Vec<&'s Vec<Entry<'t>>>>;

impl Config {
    /// The configuration that the command line asks for, with the file that it names and its drop-ins. The profile is
    /// that of the command line, or else the one named as the machine, if there is one. Every
    /// profile of the files is checked, chosen or not.
    pub fn load(command_line: &CommandLine, machine: &Machine) -> Result<Config, ConfigError> {
        Config::read(command_line, machine, Occasion::Start)
    }

    /// As [`Config::load`], for a daemon that runs already: the file must be a regular one, as drop-ins always must, and
    /// no file empty. Others, such as a pipe, can be read once, or would be waited for.
    pub fn load_again(command_line: &CommandLine, machine: &Machine) -> Result<Config, ConfigError> {
        Config::read(command_line, machine, Occasion::Reload)
    }

    fn read(
        command_line: &CommandLine,
        machine: &Machine,
        occasion: Occasion,
    ) -> Result<Config, ConfigError> {
        let mut problems = Vec::new();
        let files = match (&command_line.config, &command_line.profile) {
            (Some(path), _) => files::read(path, occasion, &mut problems),
            (None, Some(profile)) => {
                return Err(ConfigError::from(Problem::outside(format!(
                    "--profile {profile}: profiles are in the file, and none is given; it needs --config FILE"
                ))));
            }
            (None, None) => Vec::new(),
        };
        Config::from_files(&files, problems, command_line, machine)
    }

    /// As [`Config::load`], of files that have been read, with the problems of those that could not be.
    pub(super) fn from_files(
        files: &[File],
        mut problems: Vec<Problem>,
        command_line: &CommandLine,
        machine: &Machine,
    ) -> Result<Config, ConfigError> {
        let mut sections = Sections::default();
        let mut is_whole = problems.is_empty();
        for file in files {
            match file.sections(&mut problems) {
                Ok(more) => sections.add(more),
                Err(problem) => {
                    is_whole = false;
                    problems.push(problem);
                }
            }
        }
        let given = given(command_line, &mut problems);
        check_values(&sections, &given, &mut problems);
        plugin::check_names(&sections.plugins, &mut problems);
        for exposed in command_line.listen.iter().filter_map(|address| address.check_local().err()) {
            problems.push(Problem::outside(format!("--listen {exposed}")));
        }
        let mut lacking = Vec::new();
        let chosen = profile::choose(&sections, files, command_line, &machine.host_name, &mut lacking);
        let chains = toml_file::chains(&sections.profiles, &mut lacking);
        // What seems to be lacking may be in a file that could not be read.
        problems.extend(lacking.into_iter().filter(|_| is_whole));
        ConfigError::check(problems)?;

        let merged = overlay(&sections, &chains, chosen, &given, machine)?;
        let sources = merged.set_by.iter().map(|(name, place)| (*name, place.source())).collect();
        let mut config = Config {
            plugins: sections.plugins.iter().map(|plugin| plugin.settings.clone()).collect(),
            warnings: profile::warnings(&sections, command_line, &machine.host_name),
            sources: Sources(sources),
            ..merged.config
        };
        if !command_line.listen.is_empty() {
            config.listen = Listen::At(command_line.listen.clone());
            config.sources.0.insert("listen", "--listen".to_owned());
        }
        if command_line.state_dir.is_some() {
            config.state_dir.clone_from(&command_line.state_dir);
            config.sources.0.insert("state_dir", "--state-dir".to_owned());
        }
        Ok(config)
    }
}

/// Lays over each other what has been read without a fault. The error is what does not agree, be it in a profile that is
/// not chosen.
fn overlay<'s>(
    sections: &'s Sections<'_>,
    chains: &Chains<'s, '_>,
    chosen: Option<&str>,
    given: &'s [Entry<'_>],
    machine: &Machine,
) -> Result<Merged<'s>, ConfigError> {
    let mut problems = Vec::new();
    let mut merged = Merged::default();
    merged.lay(&sections.globals, &mut problems);
    for (_, layers) in chains.iter().filter(|(name, _)| Some(**name) != chosen) {
        let mut other = merged.clone();
        layers.iter().rev().for_each(|layer| other.lay(layer, &mut problems));
        rule::check(&other, &mut problems);
    }
    if let Some(layers) = chosen.and_then(|name| chains.get(name)) {
        layers.iter().rev().for_each(|layer| merged.lay(layer, &mut problems));
    }
    merged.lay(given, &mut problems);
    rule::check(&merged, &mut problems);
    // A profile that is not chosen may be for a machine with other groups.
    rule::check_group(&merged, machine, &mut problems);
    rule::check_without(&merged, &sections.plugins, &mut problems);
    ConfigError::check(problems)?;
    Ok(merged)
}

/// What `--set` gives. A value that is no TOML is a string, so that the shell's quotes are enough.
fn given<'t>(command_line: &'t CommandLine, problems: &mut Vec<Problem>) -> Vec<Entry<'t>> {
    let mut entries = Vec::new();
    for (key, text) in &command_line.set {
        let place = Place::Outside("--set", key);
        let bare = |_| Spanned::new(0..text.len(), DeValue::String(Cow::Borrowed(text.as_str())));
        match setting::find(key) {
            Ok(setting) => {
                let value = DeValue::parse(text).unwrap_or_else(bare);
                entries.push(Entry { setting, value, place });
            }
            Err(text) => problems.push(place.problem(Wrong { span: None, text })),
        }
    }
    entries
}

/// Reads every value once, whether it will count or not.
fn check_values(sections: &Sections<'_>, given: &[Entry<'_>], problems: &mut Vec<Problem>) {
    let mut scratch = Merged::default();
    scratch.lay(&sections.globals, problems);
    for profile in sections.profiles.values() {
        scratch.lay(&profile.settings, problems);
    }
    scratch.lay(given, problems);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::setting::SETTINGS;
    use crate::config::testing::{machine, read, read_all, told};
    use crate::core::Level;
    use crate::limits::SharedNames;

    #[test]
    fn every_setting_is_taken_and_refused_by_its_name() {
        for (line, shown, wrong) in [
            ("listen = ['unix:/x']", r#"["unix:/x"]"#, "['*:1']"),
            ("state_dir = '/x'", r#""/x""#, "''"),
            ("host = 'x'", r#""x""#, "':x'"),
            ("socket_mode = '600'", r#""0600""#, "'888'"),
            ("socket_group = 'x'", r#""x""#, "5"),
            ("log_level = 'debug'", r#""debug""#, "'verbose'"),
            ("drain_timeout = 7", r#""7s""#, "'2h'"),
            ("turn_bytes = 65536", r#""64KiB""#, "65535"),
            ("plugin_dir = '/p'", r#""/p""#, "1"),
            ("without = ['x']", r#"["x"]"#, "[1]"),
            ("max_line_bytes = 1024", r#""1KiB""#, "1023"),
            ("max_queue_bytes = '1GiB'", r#""1GiB""#, "4095"),
            ("max_memory_bytes = '1TiB'", r#""1TiB""#, "'2TiB'"),
            ("max_connections = 1000000", "1000000", "1000001"),
            ("max_connections_per_uid = 1", "1", "0"),
            ("max_names = 1", "1", "0"),
            ("max_requests = 1", "1", "0"),
            ("max_subscriptions = 1", "1", "'1'"),
            ("max_known_nodes = 1", "1", "0"),
            ("request_timeout = '1h'", r#""1h""#, "3601"),
            ("stall_timeout = 0.5", r#""500ms""#, "0"),
            ("shared_names = 'any'", r#""any""#, "true"),
        ] {
            let (name, value) = line.split_once(" = ").unwrap();
            let wanted = format!("{name} = {shown}\n");
            let file = read(line, &[]).unwrap();
            assert!(file.to_string().contains(&wanted), "{line}: {file}");
            assert_eq!(read("", &["--set", line]), Ok(file.clone()), "{line}");
            assert_eq!(read(&format!("[profile.alpha]\n{name} = {value}"), &[]), Ok(file), "{line}");
            let error = told(&format!("\n{name} = {wrong}"), &[]);
            assert!(error.starts_with(&format!("t.toml:2: {name}: ")), "{error}");
            let error = told("", &["--set", &format!("{name}={wrong}")]);
            assert!(error.starts_with(&format!("--set {name}: ")), "{error}");
            let error = told(&format!("[profile.other]\n{name} = {wrong}"), &[]);
            assert!(error.starts_with(&format!("t.toml:2: profile.other.{name}: ")), "{error}");
        }
        assert_eq!(SETTINGS.len(), 22, "a setting is missing above");
    }

    #[test]
    fn a_fault_reads_as_a_sentence() {
        assert_eq!(
            told("max_line_bytes = \"lots\"", &[]),
            "t.toml:1: max_line_bytes: is \"lots\"; it must be a number of bytes from 1KiB to 64MiB, such as 65536, \
             \"64KiB\", \"1MiB\" or \"1GiB\""
        );
    }

    #[test]
    fn all_faults_are_told_in_the_order_of_their_lines() {
        let text = "max_names = 0\nfoo = 1\nlisten = [\n  'unix:/x',\n  'nowhere',\n]\nhost = 5\n[profile.a]\nparent = 'b'";
        let error = told(text, &["--set", "bar=1", "--listen", "0.0.0.0:1"]);
        let starts: Vec<&str> = error.lines().map(|line| &line[..line.len().min(16)]).collect();
        assert_eq!(
            starts,
            [
                "t.toml:1: max_na",
                "t.toml:2: foo: i",
                "t.toml:5: listen",
                "t.toml:7: host: ",
                "t.toml:9: profil",
                "--listen tcp:0.0",
                "--set bar: is no",
            ]
        );
    }

    fn told_of(texts: &[&str]) -> Vec<String> {
        let error = read_all(texts, &[]).expect_err("fault");
        error.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_later_file_counts_more() {
        let main = "max_names = 1\nmax_requests = 1\nmax_subscriptions = 1\nlisten = ['unix:/main']\nwithout = ['a']";
        let one = "max_names = 2\nmax_requests = 2\nlisten = ['unix:/one', 'unix:/other']";
        let two = "max_names = 3\nwithout = []";
        let read = |texts: &[&str]| {
            let config = read_all(texts, &[]).unwrap();
            let limits = &config.limits;
            let numbers = (limits.max_names, limits.max_requests, limits.max_subscriptions);
            (numbers, config.listen.addresses().len(), config.without.len())
        };
        assert_eq!(read(&[main, one, two]), ((3, 2, 1), 2, 0));
        assert_eq!(read(&[main, two, one]), ((2, 2, 1), 2, 0));
        assert_eq!(read(&[main, "# nothing", ""]), ((1, 1, 1), 1, 1));
        let config = read_all(&[main, two], &["--set", "max_names=4"]).unwrap();
        assert_eq!(config.limits.max_names, 4);
    }

    #[test]
    fn a_profile_of_several_files_is_one() {
        let main = "max_names = 1\n[profile.alpha]\nparent = 'a'\nmax_names = 2\nmax_requests = 2\n[profile.a]\nhost = 'a'";
        let limits = |texts: &[&str]| {
            let config = read_all(texts, &[]).unwrap();
            (config.limits.max_names, config.limits.max_requests, config.host.unwrap_or_default())
        };
        // Its values overlay the settings of all files.
        assert_eq!(limits(&[main, "max_names = 9\nhost = 'x'"]), (2, 2, "a".into()));
        assert_eq!(limits(&[main, "[profile.alpha]\nmax_requests = 3"]), (2, 3, "a".into()));
        let other = "[profile.alpha]\nparent = 'b'\n[profile.b]\nhost = 'b'";
        assert_eq!(limits(&[main, other]), (2, 2, "b".into()));
        assert_eq!(limits(&[main, other, "[profile.b]\nhost = 'c'"]), (2, 2, "c".into()));
        assert_eq!(limits(&["", "[profile.alpha]\nmax_names = 5"]), (5, 4096, String::new()));
        assert_eq!(
            told_of(&["[profile.a]\nparent = 'b'", "[profile.b]\n", "\n[profile.b]\nparent = 'a'"]),
            [
                "t.d/2.toml:3: profile.b.parent: closes a circle: a > b > a; the last of all parents must be a profile without one"
            ]
        );
        assert_eq!(
            read_all(&["", "[profile.beta]"], &["--profile", "gamma"]),
            Err("--profile gamma: there is no such profile; t.toml and its drop-ins have beta".into())
        );
        let warnings = read_all(&["", "\n[profile.Alpha]", "[profile.Alpha]"], &[]).unwrap().warnings;
        assert!(warnings[0].starts_with("t.d/1.toml:2: [profile.Alpha] is not taken: "), "{warnings:?}");
    }

    #[test]
    fn plugins_come_in_the_order_of_the_files() {
        let plugin = |name: &str| format!("[[plugin]]\npath = '/x/{name}.so'\n");
        let (b, c, a) = (plugin("b"), plugin("c"), plugin("a"));
        let config = read_all(&[&(b.clone() + &c), "", &a], &[]).unwrap();
        let names: Vec<_> = config.plugins.iter().map(|plugin| plugin.name.as_str()).collect();
        assert_eq!(names, ["b", "c", "a"]);
        assert_eq!(
            told_of(&[&b, &format!("\n{c}{b}"), &b]),
            [
                "t.d/1.toml:4: plugin.name: there are two plugins called \"b\", here and at t.toml:1; give each a name of its own",
                "t.d/2.toml:1: plugin.name: there are two plugins called \"b\", here and at t.toml:1; give each a name of its own",
            ]
        );
        assert_eq!(
            told_of(&["without = ['a']", &a]),
            [
                "t.toml:1: without: holds \"a\", and there is a [[plugin]] of that name at t.d/1.toml:1; only one of them can be meant"
            ]
        );
    }

    #[test]
    fn all_faults_are_told_in_the_order_of_the_files() {
        let starts = |texts: &[&str], arguments: &[&str]| {
            let error = read_all(texts, arguments).expect_err("fault");
            let start = |line: &str| line.splitn(3, ": ").take(2).collect::<Vec<_>>().join(": ");
            error.lines().map(start).collect::<Vec<_>>()
        };
        // Of ten, which would come before the second if the paths decided.
        let mut texts = vec!["max_names = 1\nfoo = 1\nmax_names = 'x'"; 11];
        texts[0] = "max_names = 0\n[profile.a]\nparent = 'b'";
        texts[1] = "host = ";
        texts[2] = "\nmax_names = 0\nfoo = 1";
        texts[3..10].fill("#");
        texts[10] = "host = 5";
        let wanted = [
            "t.toml:1: max_names",
            "t.d/1.toml:1: is no TOML at column 8",
            "t.d/2.toml:2: max_names",
            "t.d/2.toml:3: foo",
            "t.d/10.toml:1: host",
            "--set bar: is no setting; telexd --help names them all",
        ];
        // The profile b may be in the file that is no TOML, and so may any that is chosen.
        assert_eq!(starts(&texts, &["--set", "bar=1", "--profile", "c"]), wanted);
        texts[1] = "#";
        let told = starts(&texts, &["--profile", "c"]);
        assert_eq!(told[1], "t.toml:3: profile.a.parent");
        assert!(told.last().unwrap().starts_with("--profile c: "), "{told:?}");
    }

    #[test]
    fn settings_of_several_files_must_agree() {
        assert_eq!(
            told_of(&["max_line_bytes = '1MiB'", "\nmax_queue_bytes = '3MiB'"]),
            [
                "t.d/1.toml:2: max_queue_bytes: is 3MiB; it must be at least 4 times max_line_bytes, which is 1MiB (t.toml:1: max_line_bytes)"
            ]
        );
        assert!(read_all(&["max_line_bytes = '4MiB'", "max_queue_bytes = '16MiB'"], &[]).is_ok());
    }

    #[test]
    fn a_value_that_is_refused_makes_no_further_faults() {
        let values = "max_line_bytes = 'lots'\nmax_queue_bytes = '2MiB'";
        for text in [values.to_owned(), format!("[profile.other]\n{values}")] {
            let error = told(&text, &[]);
            assert_eq!(error.lines().count(), 1, "{error}");
        }
        let error = told(&format!("[profile.other]\nparent = 'nobody'\n{values}"), &[]);
        assert_eq!(error.lines().count(), 2, "{error}");
    }

    #[test]
    fn the_command_line_counts_most() {
        let text = "listen = ['unix:/file']\nstate_dir = '/file'\nlog_level = 'error'\n[profile.alpha]\nlog_level = 'notice'";
        let config = read(text, &[]).unwrap();
        assert_eq!((config.log_level, config.state_dir), (Level::Notice, Some("/file".into())));
        let set = ["--set", "log_level=warning", "--set", "log_level=debug", "--set", "listen=['unix:/set']"];
        let config = read(text, &set).unwrap();
        assert_eq!(
            (config.log_level, config.listen.addresses()[0].to_string()),
            (Level::Debug, "unix:/set".into())
        );
        let options = ["--listen", "unix:/a", "--listen", "127.0.0.1:0", "--state-dir", "/option"];
        let config = read(text, &[&set[..], &options[..]].concat()).unwrap();
        let listen: Vec<String> = config.listen.addresses().iter().map(ToString::to_string).collect();
        assert_eq!(listen, ["unix:/a", "tcp:127.0.0.1:0"]);
        assert_eq!(config.state_dir, Some("/option".into()));
    }

    #[test]
    fn what_is_set_is_toml_or_a_bare_text() {
        let set = [
            "--set=request_timeout=2m",
            "--set=stall_timeout=3",
            "--set=shared_names=\"any\"",
            "--set=socket_mode=0600",
        ];
        let config = read("", &set).unwrap();
        assert_eq!(config.limits.request_timeout, Duration::from_secs(120));
        assert_eq!(config.limits.stall_timeout, Duration::from_secs(3));
        assert_eq!((config.limits.shared_names, config.socket_mode), (SharedNames::Any, 0o600));
        assert!(
            told("", &["--set", "listen=unix:/x"])
                .starts_with("--set listen: is \"unix:/x\"; it must be a list")
        );
        assert_eq!(
            told("", &["--set", "max_name=1"]),
            "--set max_name: is no setting; did you mean max_names?"
        );
        assert!(
            told("", &["--set", "profile.a.host=x"])
                .starts_with("--set profile.a.host: is no setting; telexd --help")
        );
    }

    #[test]
    fn tcp_for_other_machines_is_refused() {
        for (text, arguments, place) in [
            ("listen = ['unix:/x', '*:4040']", &[][..], "t.toml:1: listen: tcp:*:4040 is every address"),
            (
                "[profile.a]\nlisten = ['[::]:1']",
                &[],
                "t.toml:2: profile.a.listen: tcp:[::]:1 is no loopback address",
            ),
            (
                "",
                &["--set", "listen=['192.0.2.1:1']"],
                "--set listen: tcp:192.0.2.1:1 is no loopback address",
            ),
            ("", &["--listen", "*:1"], "--listen tcp:*:1 is every address"),
        ] {
            let error = told(text, arguments);
            assert!(error.starts_with(place), "{error}");
            assert!(
                error.contains("needs authentication, which this version does not offer; right are tcp:127")
            );
        }
        assert!(read("listen = ['localhost:1', '127.0.0.1:*', 'box.example:1']", &[]).is_ok());
    }

    #[test]
    fn the_file_is_read_where_it_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.toml");
        std::fs::write(&path, "[profile.alpha]\nmax_names = 7\n").unwrap();
        let mut command_line = CommandLine { config: Some(path.clone()), ..CommandLine::default() };
        assert_eq!(Config::load(&command_line, &machine("alpha")).unwrap().limits.max_names, 7);
        assert_eq!(Config::load(&command_line, &machine("beta")), Ok(Config::default()));
        std::fs::create_dir(dir.path().join("t.d")).unwrap();
        std::fs::write(dir.path().join("t.d/x.toml"), "[profile.alpha]\nmax_names = 8\n").unwrap();
        assert_eq!(Config::load(&command_line, &machine("alpha")).unwrap().limits.max_names, 8);
        std::fs::remove_file(&path).unwrap();
        let error = Config::load(&command_line, &machine("alpha")).expect_err("no file").to_string();
        assert!(error.starts_with(&format!("{}: cannot be read: ", path.display())), "{error}");
        command_line.config = None;
        assert_eq!(Config::load(&command_line, &machine("alpha")), Ok(Config::default()));
        command_line.profile = Some("alpha".into());
        let error = Config::load(&command_line, &machine("alpha")).expect_err("no file").to_string();
        assert_eq!(
            error,
            "--profile alpha: profiles are in the file, and none is given; it needs --config FILE"
        );
    }
}
