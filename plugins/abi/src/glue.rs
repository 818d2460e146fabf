//! Knows what `export!` puts into a library: the descriptor, and the tables whose functions call the traits
//! and catch their panics.
//! Never: what is in a message or an event.
#![expect(unsafe_code, reason = "the other side speaks C")]
// Every function that is handed a pointer relies on what telex_plugin.h promises of it: that it is right, and
// lives until the function returns. The comments at the blocks say only what goes beyond that.

use std::ffi::{CStr, c_char, c_void};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::raw::{self, Str};
use crate::view::{Call, Event, Host, Message, Record, text};
use crate::{Events, Fault, Filter, Heard, Kind, Log, Plugin};

/// A plugin type with the extensions that it exports; written by `export!`.
pub trait Exported: Plugin {
    /// The table of an extension.
    fn table(id: &str) -> Option<Table>;
}

/// The table of an extension, which lives for ever.
#[derive(Debug)]
pub struct Table(*const c_void);

/// What `telex_plugin` is.
#[repr(transparent)]
#[derive(Debug)]
pub struct Descriptor(raw::Descriptor);

// SAFETY: it is never changed, and its pointers are to statics.
unsafe impl Sync for Descriptor {}

impl Descriptor {
    #[cfg(feature = "testing")]
    pub(crate) fn raw(&self) -> &raw::Descriptor {
        &self.0
    }
}

/// What an instance pointer points to.
struct Instance<T> {
    plugin: T,
    /// What `interests` gave, as long as it lives.
    interests: Vec<raw::Interest>,
    _texts: Vec<crate::Interest>,
}

/// The descriptor of a plugin. Both texts end with a NUL.
pub const fn descriptor<T: Exported>(name: &'static str, version: &'static str) -> Descriptor {
    Descriptor(raw::Descriptor {
        magic: raw::MAGIC,
        abi: raw::ABI,
        size: size_of::<raw::Descriptor>() as u32,
        minor: raw::MINOR,
        name: name.as_ptr().cast(),
        version: version.as_ptr().cast(),
        create: Some(create::<T>),
        destroy: Some(destroy::<T>),
        extension: Some(extension::<T>),
    })
}

/// Runs what may panic; the panic is told to stderr by its hook, and goes no further.
fn catch<R>(or: R, run: impl FnOnce() -> R) -> R {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or(or)
}

unsafe extern "C" fn create<T: Exported>(host: *const raw::Host, config: Str) -> *mut c_void {
    let host = Host::new(host);
    let made = catch(Err("it panicked".to_owned()), || {
        // SAFETY: as above.
        let config = unsafe { text(config) }.unwrap_or("{}");
        T::create(host, config)
    });
    match made {
        Ok(plugin) => {
            let instance = Instance { plugin, interests: Vec::new(), _texts: Vec::new() };
            Box::into_raw(Box::new(instance)).cast()
        }
        Err(reason) => {
            host.fail(&reason);
            std::ptr::null_mut()
        }
    }
}

unsafe extern "C" fn destroy<T>(instance: *mut c_void) {
    // SAFETY: it came from `create`, and this is its last use.
    let instance = unsafe { Box::from_raw(instance.cast::<Instance<T>>()) };
    catch((), || drop(instance));
}

unsafe extern "C" fn extension<T: Exported>(_: *mut c_void, id: *const c_char) -> *const c_void {
    // SAFETY: as above.
    let id = unsafe { CStr::from_ptr(id) };
    id.to_str().ok().and_then(T::table).map_or(std::ptr::null(), |table| table.0)
}

/// The instance of a call. No two calls of one instance are ever under way at once.
unsafe fn instance<'a, T>(instance: *mut c_void) -> &'a mut Instance<T> {
    // SAFETY: it came from `create::<T>`.
    unsafe { &mut *instance.cast::<Instance<T>>() }
}

fn number(result: Result<(), Fault>) -> i32 {
    result.map_or(raw::FAULT, |()| raw::OK)
}

/// `telex.log/1`.
pub mod log {
    use super::*;

    /// Its name.
    pub const ID: &str = raw::LOG;

    struct Of<T>(PhantomData<T>);

    impl<T: Log> Of<T> {
        const TABLE: raw::Log = raw::Log { record: Some(record::<T>), flush: Some(flush::<T>) };
    }

    /// Its table for a plugin.
    pub fn table<T: Log>() -> Table {
        Table(std::ptr::from_ref(&Of::<T>::TABLE).cast())
    }

    unsafe extern "C" fn record<T: Log>(at: *mut c_void, record: *const raw::Record) -> i32 {
        // SAFETY: as above.
        let (instance, record) = unsafe { (instance::<T>(at), &*record) };
        catch(raw::PANIC, || number(instance.plugin.record(&Record::new(record))))
    }

    unsafe extern "C" fn flush<T: Log>(at: *mut c_void) -> i32 {
        // SAFETY: as above.
        let instance = unsafe { instance::<T>(at) };
        catch(raw::PANIC, || number(instance.plugin.flush()))
    }
}

/// `telex.filter/1`.
pub mod filter {
    use super::*;

    /// Its name.
    pub const ID: &str = raw::FILTER;

    struct Of<T>(PhantomData<T>);

    impl<T: Filter> Of<T> {
        const TABLE: raw::Filter = raw::Filter { judge: Some(judge::<T>), interests: Some(interests::<T>) };
    }

    /// Its table for a plugin.
    pub fn table<T: Filter>() -> Table {
        Table(std::ptr::from_ref(&Of::<T>::TABLE).cast())
    }

    unsafe extern "C" fn judge<T: Filter>(
        at: *mut c_void,
        message: *const raw::Message,
        call: *const raw::Call,
    ) -> i32 {
        // SAFETY: as above.
        let (instance, message, call) = unsafe { (instance::<T>(at), &*message, Call::new(&*call)) };
        catch(raw::PANIC, || {
            let verdict = instance.plugin.judge(&Message::new(message, &call), &call);
            call.write(&verdict)
        })
    }

    unsafe extern "C" fn interests<T: Filter>(at: *mut c_void, count: *mut usize) -> *const raw::Interest {
        // SAFETY: as above.
        let instance = unsafe { instance::<T>(at) };
        let texts = catch(Vec::new(), || instance.plugin.interests());
        let of = |interest: &crate::Interest| raw::Interest {
            message_type: Str::maybe(interest.message_type.as_deref()),
            to: Str::maybe(interest.to.as_deref()),
            topic: Str::maybe(interest.topic.as_deref()),
            from: Str::maybe(interest.from.as_deref()),
        };
        let interests: Vec<_> = if texts.is_empty() {
            vec![of(&crate::Interest::default())]
        } else {
            texts.iter().map(of).collect()
        };
        // The texts stand still on the heap while the lists are moved.
        (instance._texts, instance.interests) = (texts, interests);
        // SAFETY: as above.
        unsafe { *count = instance.interests.len() };
        instance.interests.as_ptr()
    }
}

/// `telex.dry/1`: the plugin looks at [`Call::is_dry`].
pub mod dry {
    use super::*;

    /// Its name.
    pub const ID: &str = raw::DRY;

    /// Anything that is there.
    pub fn table<T: Filter>() -> Table {
        Table(std::ptr::from_ref(&raw::CALL_DRY).cast())
    }
}

/// `telex.events/1`.
pub mod events {
    use super::*;

    /// Its name.
    pub const ID: &str = raw::EVENTS;

    struct Of<T>(PhantomData<T>);

    impl<T: Events> Of<T> {
        const TABLE: raw::Events = raw::Events { event: Some(event::<T>), wants: Some(wants::<T>) };
    }

    /// Its table for a plugin.
    pub fn table<T: Events>() -> Table {
        Table(std::ptr::from_ref(&Of::<T>::TABLE).cast())
    }

    unsafe extern "C" fn event<T: Events>(
        at: *mut c_void,
        event: *const raw::Event,
        call: *const raw::Call,
    ) -> i32 {
        // SAFETY: as above.
        let (instance, event, call) = unsafe { (instance::<T>(at), &*event, Call::new(&*call)) };
        let Some(kind) = Kind::from_number(event.kind) else { return raw::OK };
        catch(raw::PANIC, || match instance.plugin.event(&Event::new(event, kind), &call) {
            Heard::Yes => raw::OK,
            Heard::Refused(reason) => {
                call.reason(&reason);
                raw::REJECT
            }
            Heard::Fault => raw::FAULT,
        })
    }

    unsafe extern "C" fn wants<T: Events>(at: *mut c_void) -> u64 {
        // SAFETY: as above.
        let instance = unsafe { instance::<T>(at) };
        let wants = catch(&[][..], || instance.plugin.wants());
        wants.iter().fold(0, |bits, kind| bits | 1 << kind.number())
    }
}
