//! Knows how a library is loaded and its functions called: the only folder with raw pointers.
//! Never: which plugin is called when, or what comes of it.
#![expect(unsafe_code, reason = "plugins speak C")]

mod call;
mod host;
mod text;

use std::error::Error;
use std::ffi::{CStr, c_char, c_void};
use std::os::fd::IntoRawFd;
use std::ptr::NonNull;
use std::sync::Arc;

use libloading::os::unix as dl;
use telex_plugin::raw::{self, Str};

use super::file::{PluginFile, path_of};
use super::interest::{Interest, Pattern};
pub(super) use call::{Call, Replaced};
pub(super) use host::{Host, Said, Voice};
use text::text_of;

/// Interests of one filter.
const INTERESTS_MAX: usize = 10_000;

/// A loaded library. It is never unloaded: threads of it may still run, and destructors of thread-locals are
/// its code (dlclose(3) would take that away).
#[derive(Debug)]
pub(super) struct Library {
    descriptor: raw::Descriptor,
    /// As it calls itself.
    pub(super) name: String,
    pub(super) version: String,
    /// Whether its instances know that a configuration may only be checked.
    pub(super) knows_checking: bool,
}

// SAFETY: it is never changed, and points to what is never unloaded.
unsafe impl Send for Library {}
// SAFETY: it is never changed, and points to what is never unloaded.
unsafe impl Sync for Library {}

impl Library {
    /// Loads a file, from a private copy of it. What runs then is its own: nothing protects the daemon from
    /// a library that means harm.
    pub(super) fn load(file: &mut PluginFile) -> Result<Library, String> {
        let copy = file.copy()?;
        let path = path_of(&copy);
        // SAFETY: its constructors run; the file belongs to root or to the daemon's own user.
        let library = unsafe { dl::Library::open(Some(&path), dl::RTLD_NOW | dl::RTLD_LOCAL) };
        let library = library.map_err(|error| {
            if !path.exists() {
                return "it cannot be loaded without /proc, which is not mounted".to_owned();
            }
            // What the loader said is behind it, with a path that says nothing to a reader.
            let why = error.source().map_or_else(|| error.to_string(), ToString::to_string);
            format!("it cannot be loaded: {}", why.trim_start_matches(&format!("{}: ", path.display())))
        })?;
        // The loader takes another file under the same path for the same library. The path has the number of
        // the descriptor in it, so that must not be used again.
        let _ = copy.into_raw_fd();
        let library = std::mem::ManuallyDrop::new(library);
        // SAFETY: the type is that of any symbol: a pointer to it.
        let symbol = unsafe { library.get::<*const raw::Descriptor>(b"telex_plugin\0") };
        // A symbol may be there and have no address.
        let descriptor = symbol.ok().map(|symbol| *symbol).filter(|descriptor| !descriptor.is_null());
        let descriptor = descriptor.ok_or("it has no symbol `telex_plugin`, so it is no plugin of telexd")?;
        // SAFETY: the symbol is there, and what it is is found out field by field.
        unsafe { Library::read(descriptor) }
    }

    /// Reads a descriptor, each field only when those before it are right.
    unsafe fn read(at: *const raw::Descriptor) -> Result<Library, String> {
        // SAFETY: of a symbol that is no descriptor as much as this is readable in any library, whose data
        // is mapped in pages.
        let (magic, abi, size) = unsafe {
            let fields = at.cast::<u32>();
            (fields.read_unaligned(), fields.add(1).read_unaligned(), fields.add(2).read_unaligned())
        };
        if magic != raw::MAGIC {
            return Err(format!(
                "its `telex_plugin` begins with {magic:#010x}, not with TELEX_MAGIC ({:#010x})",
                raw::MAGIC
            ));
        }
        if abi != raw::ABI {
            return Err(format!(
                "it was built for version {abi} of the plugin interface (TELEX_ABI); this is version {}",
                raw::ABI
            ));
        }
        if (size as usize) < size_of::<raw::Descriptor>() {
            return Err(format!(
                "its descriptor says that it has {size} bytes; one of version {abi} has at least {}",
                size_of::<raw::Descriptor>()
            ));
        }
        // SAFETY: magic, version and size are right.
        let descriptor = unsafe { at.read_unaligned() };
        // SAFETY: a text of a right descriptor is null or ends with NUL.
        let text = |at: *const c_char| {
            (!at.is_null()).then(|| unsafe { CStr::from_ptr(at) }.to_string_lossy().into_owned())
        };
        let name =
            text(descriptor.name).filter(|name| !name.is_empty()).ok_or("its descriptor has no name")?;
        let version = text(descriptor.version)
            .filter(|version| !version.is_empty())
            .ok_or("its descriptor has no version")?;
        let missing = [
            ("create", descriptor.create.is_none()),
            ("destroy", descriptor.destroy.is_none()),
            ("extension", descriptor.extension.is_none()),
        ];
        if let Some((function, _)) = missing.iter().find(|(_, is_missing)| *is_missing) {
            return Err(format!("its descriptor has no `{function}`"));
        }
        Ok(Library { descriptor, name, version, knows_checking: descriptor.minor >= 1 })
    }
}

/// An instance of a plugin, with the tables of its extensions.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) library: Arc<Library>,
    pointer: NonNull<c_void>,
    /// Stands still: the plugin has a pointer to it.
    host: Box<Host>,
    log: Option<raw::Log>,
    filter: Option<raw::Filter>,
    events: Option<raw::Events>,
    pub(super) interests: Vec<Interest>,
    /// Whether it knows that a verdict may only be asked for.
    pub(super) knows_dry: bool,
    /// Bits by the kinds of events.
    pub(super) wants: u64,
}

// SAFETY: the header says that `create` and `destroy` may be called on a thread of their own.
unsafe impl Send for Instance {}

impl Instance {
    /// Makes an instance and asks it what it is. `config` is a JSON object.
    pub(super) fn create(library: Arc<Library>, host: Box<Host>, config: &str) -> Result<Instance, String> {
        let descriptor = &library.descriptor;
        let create = descriptor.create.ok_or("its descriptor has no `create`")?;
        // SAFETY: the descriptor is right, and host and config live until it returns, the host longer.
        let pointer = unsafe { create(&host.raw, Str::of(config)) };
        let Some(pointer) = NonNull::new(pointer) else {
            let reason = host.reason();
            return Err(reason.unwrap_or_else(|| "it could not be made, and it did not say why".to_owned()));
        };
        let mut instance = Instance {
            library,
            pointer,
            host,
            log: None,
            filter: None,
            events: None,
            interests: Vec::new(),
            knows_dry: false,
            wants: 0,
        };
        instance.ask()?;
        Ok(instance)
    }

    /// Asks a new instance for its extensions.
    fn ask(&mut self) -> Result<(), String> {
        self.log = self.extension::<raw::Log>(c"telex.log/1");
        self.filter = self.extension::<raw::Filter>(c"telex.filter/1");
        self.events = self.extension::<raw::Events>(c"telex.events/1");
        let missing = [
            ("telex.log/1", "record", self.log.is_some_and(|log| log.record.is_none())),
            ("telex.filter/1", "judge", self.filter.is_some_and(|filter| filter.judge.is_none())),
            ("telex.events/1", "event", self.events.is_some_and(|events| events.event.is_none())),
            ("telex.events/1", "wants", self.events.is_some_and(|events| events.wants.is_none())),
        ];
        if let Some((extension, function, _)) = missing.iter().find(|(.., is_missing)| *is_missing) {
            return Err(format!("its table for {extension} has no `{function}`"));
        }
        if self.log.is_none() && self.filter.is_none() && self.events.is_none() {
            return Err(
                "it has none of telex.log/1, telex.filter/1, telex.events/1, so it does nothing".to_owned()
            );
        }
        if let Some(wants) = self.events.and_then(|events| events.wants) {
            // SAFETY: the table is the instance's.
            self.wants = unsafe { wants(self.pointer.as_ptr()) };
        }
        self.knows_dry = self.has_extension(c"telex.dry/1");
        self.interests = match self.filter.and_then(|filter| filter.interests) {
            None => vec![Interest::default()],
            // SAFETY: the table is the instance's.
            Some(interests) => unsafe { self.read_interests(interests)? },
        };
        Ok(())
    }

    unsafe fn read_interests(
        &self,
        interests: unsafe extern "C" fn(*mut c_void, *mut usize) -> *const raw::Interest,
    ) -> Result<Vec<Interest>, String> {
        let mut count = 0;
        // SAFETY: the table is the instance's.
        let list = unsafe { interests(self.pointer.as_ptr(), &mut count) };
        if count > INTERESTS_MAX || (list.is_null() && count > 0) {
            return Err(format!(
                "its list of interests is not right: {count} of them, and at most {INTERESTS_MAX} can be"
            ));
        }
        // SAFETY: so many are there, as the header promises.
        let list = if count == 0 { &[][..] } else { unsafe { std::slice::from_raw_parts(list, count) } };
        let owned = |text: Str| {
            // SAFETY: it lives as long as the list.
            unsafe { text_of(text) }.map(|text| Pattern::new(text.into_owned()))
        };
        let own = |interest: &raw::Interest| Interest {
            message_type: owned(interest.message_type),
            to: owned(interest.to),
            topic: owned(interest.topic),
            from: owned(interest.from),
        };
        Ok(list.iter().map(own).collect())
    }

    /// A table, copied; it lives as long as the instance, but is not needed.
    fn extension<T: Copy>(&self, id: &CStr) -> Option<T> {
        let extension = self.library.descriptor.extension?;
        // SAFETY: the instance is this library's, and the table of an extension has one form for ever.
        unsafe { extension(self.pointer.as_ptr(), id.as_ptr()).cast::<T>().as_ref().copied() }
    }

    fn has_extension(&self, id: &CStr) -> bool {
        let Some(extension) = self.library.descriptor.extension else { return false };
        // SAFETY: the instance is this library's.
        unsafe { !extension(self.pointer.as_ptr(), id.as_ptr()).is_null() }
    }

    pub(super) fn is_log(&self) -> bool {
        self.log.is_some()
    }

    pub(super) fn is_filter(&self) -> bool {
        self.filter.is_some()
    }

    /// Whether it wants to hear of events of this kind.
    pub(super) fn wants(&self, kind: u32) -> bool {
        self.wants >> kind & 1 == 1
    }

    /// Hands it a record; gives its answer.
    pub(super) fn record(&mut self, record: &raw::Record) -> i32 {
        let Some(function) = self.log.and_then(|log| log.record) else { return raw::OK };
        self.host.set_takes_log(true);
        // SAFETY: the table is the instance's, and the record lives until it returns.
        let answer = unsafe { function(self.pointer.as_ptr(), record) };
        self.host.set_takes_log(false);
        answer
    }

    /// Tells it that the turn's records are all there.
    pub(super) fn flush(&mut self) -> i32 {
        let Some(function) = self.log.and_then(|log| log.flush) else { return raw::OK };
        self.host.set_takes_log(true);
        // SAFETY: the table is the instance's.
        let answer = unsafe { function(self.pointer.as_ptr()) };
        self.host.set_takes_log(false);
        answer
    }

    /// Has it judge a message. What it has to say of it is in `call` afterwards.
    #[inline(always)]
    pub(super) fn judge(&mut self, message: &raw::Message, call: &Call) -> i32 {
        let Some(function) = self.filter.and_then(|filter| filter.judge) else { return raw::PASS };
        call.state.begin(call::Phase::Filter { kind: message.kind, body: message.body });
        // SAFETY: the table is the instance's, and all that is handed to it lives until it returns.
        let answer = unsafe { function(self.pointer.as_ptr(), message, &call.raw) };
        call.state.end();
        answer
    }

    /// Tells it of an event.
    pub(super) fn event(&mut self, event: &raw::Event, call: &Call) -> i32 {
        let Some(function) = self.events.and_then(|events| events.event) else { return raw::OK };
        call.state.begin(call::Phase::Event);
        // SAFETY: the table is the instance's, and all that is handed to it lives until it returns.
        let answer = unsafe { function(self.pointer.as_ptr(), event, &call.raw) };
        call.state.end();
        answer
    }

    /// How often it wants to hear of its timer, in milliseconds; 0: never.
    pub(super) fn timer(&self) -> u64 {
        self.host.timer()
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if let Some(destroy) = self.library.descriptor.destroy {
            // SAFETY: the instance is this library's, and is not used any more.
            unsafe { destroy(self.pointer.as_ptr()) };
        }
    }
}
