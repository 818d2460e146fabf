//! Knows how plugins are made of what the configuration says: found, loaded, created. May block, and runs
//! on a thread of its own while the daemon serves.
//! Never: calls one that is in force.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::ffi::{Host, Instance, Library, Voice};
use super::file::{PluginFile, Version, candidates};
use super::wake::Wake;
use crate::plugin_settings::PluginSettings;

/// Makes plugins, and keeps what is loaded: nothing is ever unloaded, so what is the same is not loaded
/// again.
#[derive(Debug)]
pub(super) struct Workshop {
    /// What plugins are told that the daemon is: `telexd 0.1.0`.
    daemon: &'static str,
    /// Whose files are trusted, beside root's.
    uid: u32,
    /// The configuration is only checked: plugins open nothing for writing.
    checking: bool,
    /// By path, the state of the file that was loaded last. One that could not be loaded is tried anew: what
    /// it lacks may be elsewhere.
    libraries: Mutex<HashMap<PathBuf, (Version, Arc<Library>)>>,
    /// What instances say, from before they are made until they have ended, whether they come into force or
    /// not.
    voices: Mutex<Vec<Voice>>,
    /// The plugin that is being made.
    making: Mutex<Option<String>>,
    wake: Wake,
}

/// A plugin that is in force, as far as a new configuration is compared with it.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    pub(super) settings: PluginSettings,
    pub(super) version: Version,
    /// It goes on if it would be made anew just as it is.
    pub(super) stays: bool,
}

/// A plugin of a new configuration.
#[derive(Debug)]
pub(super) enum Made {
    /// The plugin in this place goes on.
    Kept(usize),
    /// A new instance.
    New(PluginSettings, Version, Box<Instance>),
    /// It is not made, and need not be: its name, and why.
    Missing(String, String),
}

impl Workshop {
    pub(super) fn new(daemon: &'static str, uid: u32, checking: bool, wake: Wake) -> Workshop {
        Workshop {
            daemon,
            uid,
            checking,
            libraries: Mutex::default(),
            voices: Mutex::default(),
            making: Mutex::default(),
            wake,
        }
    }

    /// What instances say.
    pub(super) fn voices(&self) -> MutexGuard<'_, Vec<Voice>> {
        lock(&self.voices)
    }

    /// The plugin that is being made.
    pub(super) fn making(&self) -> Option<String> {
        lock(&self.making).clone()
    }

    /// Makes all that is wanted, in its order, or says which one cannot be made that is needed, and why.
    /// `standing` are those that are in force.
    pub(super) fn make(
        &self,
        wanted: Vec<PluginSettings>,
        standing: &[Standing],
        dir: &Path,
    ) -> Result<Vec<Made>, String> {
        wanted.into_iter().map(|settings| self.make_one(settings, standing, dir)).collect()
    }

    fn make_one(&self, settings: PluginSettings, standing: &[Standing], dir: &Path) -> Result<Made, String> {
        let (name, path) = (settings.name.clone(), settings.path.clone());
        *lock(&self.making) = Some(name.clone());
        let made = PluginFile::open(candidates(&path, dir), self.uid)
            .map_err(|why| why.to_string())
            .and_then(|file| {
                let version = file.version;
                let kept = standing
                    .iter()
                    .position(|one| one.stays && one.settings == settings && one.version == version);
                if let Some(at) = kept {
                    return Ok(Made::Kept(at));
                }
                let library = self.load(file)?;
                if self.checking && !library.knows_checking {
                    let why =
                        "is loaded, and not made: it was built before TELEX_MINOR 1, and might make files";
                    return Ok(Made::Missing(name.clone(), why.to_owned()));
                }
                let host = Host::new(self.daemon, &settings.name, self.checking, self.wake.clone());
                self.voices().push(host.voice());
                let instance = Instance::create(library, host, &settings.config)?;
                Ok(Made::New(settings.clone(), version, Box::new(instance)))
            });
        // What is in force must not be gone because of its next version, even if it need not be there.
        let is_needed = settings.required || standing.iter().any(|one| one.settings.name == name);
        match made {
            Ok(made) => Ok(made),
            Err(why) if is_needed => Err(format!("plugin {name} ({path}): {why}")),
            Err(why) => Ok(Made::Missing(name, format!("is missing ({path}): {why}"))),
        }
    }

    fn load(&self, mut file: PluginFile) -> Result<Arc<Library>, String> {
        let mut libraries = lock(&self.libraries);
        if let Some((version, library)) = libraries.get(&file.path)
            && *version == file.version
        {
            return Ok(library.clone());
        }
        let library = Arc::new(Library::load(&mut file)?);
        libraries.insert(file.path, (file.version, library.clone()));
        Ok(library)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
