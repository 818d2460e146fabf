//! Knows what every log plugin does with the daemon's calls, and exports one.
//! Never: where records go.

use telex_plugin::{Fault, Record};

use crate::{LocalSocket, MaxLevel, Queue};

/// A log plugin at work: of the records of the daemon's log it takes those that matter enough.
#[derive(Debug)]
pub struct Logger {
    level: MaxLevel,
    way: Way,
}

/// How records go where they go.
#[derive(Debug)]
pub enum Way {
    /// By a thread.
    Queue(Queue),
    /// At once, and by a thread where that cannot be.
    Socket(LocalSocket),
}

impl Logger {
    /// One that takes records up to this level.
    pub fn new(level: MaxLevel, way: Way) -> Logger {
        Logger { level, way }
    }

    /// Takes a record.
    pub fn record(&mut self, record: &Record<'_>) -> Result<(), Fault> {
        match &mut self.way {
            _ if !self.level.takes(record) => Ok(()),
            Way::Queue(queue) => queue.add(record),
            Way::Socket(socket) => socket.add(record),
        }
    }

    /// Has what was taken written.
    pub fn flush(&self) {
        match &self.way {
            Way::Queue(queue) => queue.flush(),
            Way::Socket(socket) => socket.flush(),
        }
    }

    /// Has it opened anew where records go, which a socket of this machine is for each of them.
    pub fn reopen(&self) {
        if let Way::Queue(queue) = &self.way {
            queue.reopen();
        }
    }
}

/// Exports a log plugin: `export!(start, check)`, once in a library. `start` is a function that makes a [`Logger`]
/// of the plugin's `config`, and of a [`Tell`](crate::Tell), which is told when records cannot be written,
/// and when they can again. `check` does the same, opens nothing for writing, and tells what it could not find out. A reload that changes nothing here has the same one [reopen](Logger::reopen).
#[macro_export]
macro_rules! export {
    ($start:ident, $check:ident) => {
        struct Exported($crate::Logger);

        impl telex_plugin::Plugin for Exported {
            fn create(host: telex_plugin::Host, config: &str) -> Result<Exported, String> {
                let tell: $crate::Tell = Box::new(move |level, message| host.log(level, message));
                match host.checking() {
                    true => $check(config, tell).map(Exported),
                    false => $start(config, tell).map(Exported),
                }
            }
        }

        impl telex_plugin::Log for Exported {
            fn record(&mut self, record: &telex_plugin::Record<'_>) -> Result<(), telex_plugin::Fault> {
                self.0.record(record)
            }

            fn flush(&mut self) -> Result<(), telex_plugin::Fault> {
                self.0.flush();
                Ok(())
            }
        }

        impl telex_plugin::Events for Exported {
            fn event(
                &mut self,
                _: &telex_plugin::Event<'_>,
                _: &telex_plugin::Call<'_>,
            ) -> telex_plugin::Heard {
                self.0.reopen();
                telex_plugin::Heard::Yes
            }

            fn wants(&self) -> &'static [telex_plugin::Kind] {
                &[telex_plugin::Kind::Reloaded]
            }
        }

        telex_plugin::export!(Exported, log, events);
    };
}
