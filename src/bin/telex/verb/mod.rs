//! Knows which verbs there are. Each is a file that owns its arguments, its examples and what it does.
//! Never: what a verb does.

use clap::{ArgMatches, Args, Command, FromArgMatches, Subcommand};

use crate::context::Context;
use crate::exit::Failure;

macro_rules! verbs {
    ($($module:ident => $verb:ident,)*) => {
        $(mod $module;)*

        /// What the command is to do.
        #[derive(Subcommand)]
        pub(crate) enum Verb {
            $($verb($module::$verb),)*
        }

        impl Verb {
            /// The arguments of the verb with this name.
            pub(crate) fn command(name: &str) -> Option<Command> {
                let module = name.replace('-', "_");
                match &*module {
                    $(stringify!($module) if !name.contains('_') => {
                        // A name has to outlive everything.
                        let name: &'static str = name.to_owned().leak();
                        Some($module::$verb::augment_args(Command::new(name)))
                    })*
                    _ => None,
                }
            }

            /// The verb with this name, as its arguments say.
            pub(crate) fn read(name: &str, matches: &ArgMatches) -> Option<Verb> {
                match &*name.replace('-', "_") {
                    $(stringify!($module) => $module::$verb::from_arg_matches(matches).ok().map(Verb::$verb),)*
                    _ => None,
                }
            }

            pub(crate) fn run(self, context: &Context) -> Result<(), Failure> {
                match self {
                    $(Verb::$verb(verb) => verb.run(context),)*
                }
            }
        }

        /// The examples of each verb.
        #[cfg(test)]
        pub(crate) const EXAMPLES: &[(&str, &str)] = &[$((stringify!($module), $module::EXAMPLES),)*];
    };
}

verbs! {
    send => Send,
    publish => Publish,
    call => Call,
    snd => Snd,
    cal => Cal,
    mon => Mon,
    kil => Kil,
    spawn => Spawn,
    listen => Listen,
    subscribe => Subscribe,
    reply => Reply,
    serve => Serve,
    on => On,
    list => List,
    connections => Connections,
    resolve => Resolve,
    subscribers => Subscribers,
    topics => Topics,
    wait_for => WaitFor,
    monitor => Monitor,
    tap => Tap,
    explain => Explain,
    top => Top,
    stats => Stats,
    plugins => Plugins,
    whoami => Whoami,
    version => Version,
    kill => Kill,
    reload => Reload,
    log => Log,
    log_level => LogLevel,
    config => Config,
    profile => Profile,
    parent => Parent,
    showconfig => Showconfig,
    run => Run,
    completions => Completions,
    complete => Complete,
    man => Man,
    ping => Ping,
    bench => Bench,
    black_hole => BlackHole,
    record => Record,
    replay => Replay,
    shell => Shell,
}
