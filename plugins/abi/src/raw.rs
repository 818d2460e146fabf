//! The structs of `include/telex_plugin.h`, field by field. What they mean is said there; a test holds
//! both to each other. You need this to load plugins, and not to write one.
#![expect(missing_docs, reason = "the header says what each field is")]

use std::ffi::{c_char, c_void};

pub const MAGIC: u32 = 0x584c_4554;
pub const ABI: u32 = 1;
pub const MINOR: u32 = 3;

pub const OK: i32 = 0;
pub const PASS: i32 = 0;
pub const DROP: i32 = 1;
pub const REJECT: i32 = 2;
pub const REPLACE: i32 = 3;
pub const FAULT: i32 = -1;
pub const PANIC: i32 = -2;
pub const NOT_FOUND: i32 = -3;
pub const BAD_VALUE: i32 = -4;
pub const TOO_MANY: i32 = -5;
pub const NOT_NOW: i32 = -6;

pub const EMERG: i32 = 0;
pub const ALERT: i32 = 1;
pub const CRIT: i32 = 2;
pub const ERR: i32 = 3;
pub const WARNING: i32 = 4;
pub const NOTICE: i32 = 5;
pub const INFO: i32 = 6;
pub const DEBUG: i32 = 7;

pub const UNIX: u32 = 1;
pub const TCP: u32 = 2;

pub const REQUEST: u32 = 1;
pub const SIGNAL: u32 = 2;
pub const REPLY: u32 = 3;

pub const FIELD_TO: i32 = 1;
pub const FIELD_TOPIC: i32 = 2;
pub const FIELD_TYPE: i32 = 3;
pub const FIELD_BODY: i32 = 4;

pub const CONNECTED: u32 = 1;
pub const REGISTERED: u32 = 2;
pub const UNREGISTERED: u32 = 3;
pub const SUBSCRIBED: u32 = 4;
pub const UNSUBSCRIBED: u32 = 5;
pub const DISCONNECTED: u32 = 6;
pub const STARTED: u32 = 7;
pub const STOPPING: u32 = 8;
pub const RELOADED: u32 = 9;
pub const TIMER: u32 = 10;

/// The names of the extensions, each with a NUL at its end where it crosses.
pub const LOG: &str = "telex.log/1";
pub const FILTER: &str = "telex.filter/1";
pub const EVENTS: &str = "telex.events/1";
/// `TELEX_DRY`.
pub const DRY: &str = "telex.dry/1";
/// `TELEX_CALL_DRY`.
pub const CALL_DRY: u32 = 1;

/// `telex_str`: borrowed text.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Str {
    pub data: *const c_char,
    pub len: usize,
}

impl Str {
    /// Nothing, which is no empty text.
    pub const NONE: Str = Str { data: std::ptr::null(), len: 0 };

    /// A text that lives as long as `text` does; nothing checks that.
    pub const fn of(text: &str) -> Str {
        Str { data: text.as_ptr().cast(), len: text.len() }
    }

    /// The same of one that may be missing.
    pub fn maybe(text: Option<&str>) -> Str {
        text.map_or(Str::NONE, Str::of)
    }
}

/// `telex_host`.
#[repr(C)]
#[derive(Debug)]
pub struct Host {
    pub size: u32,
    pub abi: u32,
    pub context: *mut c_void,
    pub daemon: Str,
    pub name: Str,
    pub log: unsafe extern "C" fn(host: *const Host, level: i32, message: Str),
    pub fail: unsafe extern "C" fn(host: *const Host, reason: Str),
    pub set_timer: unsafe extern "C" fn(host: *const Host, milliseconds: u64) -> i32,
    pub extension: unsafe extern "C" fn(host: *const Host, id: *const c_char) -> *const c_void,
    pub checking: u32,
    pub reserved: u32,
}

/// `telex_descriptor`. What is an `Option` here is null in a descriptor that is not right.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Descriptor {
    pub magic: u32,
    pub abi: u32,
    pub size: u32,
    pub minor: u32,
    pub name: *const c_char,
    pub version: *const c_char,
    pub create: Option<unsafe extern "C" fn(host: *const Host, config: Str) -> *mut c_void>,
    pub destroy: Option<unsafe extern "C" fn(instance: *mut c_void)>,
    pub extension: Option<unsafe extern "C" fn(instance: *mut c_void, id: *const c_char) -> *const c_void>,
}

/// `telex_peer`.
#[repr(C)]
#[derive(Debug)]
pub struct Peer {
    pub size: u32,
    pub transport: u32,
    pub connection: u64,
    pub unique_id: Str,
    pub node_ids: *const Str,
    pub node_id_count: usize,
    pub uid: i64,
    pub gid: i64,
    pub pid: i64,
    pub user: Str,
    pub administrator: u32,
    pub reserved: u32,
}

/// `telex_message`.
#[repr(C)]
#[derive(Debug)]
pub struct Message {
    pub size: u32,
    pub kind: u32,
    pub sender: *const Peer,
    pub line: Str,
    pub message_id: Str,
    pub message_type: Str,
    pub from: Str,
    pub to: Str,
    pub topic: Str,
    pub key: Str,
    pub body: Str,
    pub in_reply_to: Str,
}

/// `telex_call`.
#[repr(C)]
#[derive(Debug)]
pub struct Call {
    pub size: u32,
    pub flags: u32,
    pub context: *mut c_void,
    pub reason: unsafe extern "C" fn(call: *const Call, text: Str) -> i32,
    pub replace: unsafe extern "C" fn(call: *const Call, field: i32, value: Str) -> i32,
    pub value: unsafe extern "C" fn(call: *const Call, pointer: Str, found: *mut Str) -> i32,
    pub emit: unsafe extern "C" fn(call: *const Call, to: Str, topic: Str, body: Str) -> i32,
    pub replace_at: unsafe extern "C" fn(call: *const Call, pointer: Str, json: Str) -> i32,
}

/// `telex_record`.
#[repr(C)]
#[derive(Debug)]
pub struct Record {
    pub size: u32,
    pub level: i32,
    pub time: i64,
    pub event: Str,
    pub connection: u64,
    pub node_id: Str,
    pub uid: i64,
    pub message: Str,
    pub fields: Str,
}

/// `telex_log`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Log {
    pub record: Option<unsafe extern "C" fn(instance: *mut c_void, record: *const Record) -> i32>,
    pub flush: Option<unsafe extern "C" fn(instance: *mut c_void) -> i32>,
}

/// `telex_interest`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Interest {
    pub message_type: Str,
    pub to: Str,
    pub topic: Str,
    pub from: Str,
}

/// `telex_filter`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Filter {
    pub judge: Option<
        unsafe extern "C" fn(instance: *mut c_void, message: *const Message, call: *const Call) -> i32,
    >,
    pub interests: Option<unsafe extern "C" fn(instance: *mut c_void, count: *mut usize) -> *const Interest>,
}

/// `telex_event`.
#[repr(C)]
#[derive(Debug)]
pub struct Event {
    pub size: u32,
    pub kind: u32,
    pub replayed: u32,
    pub reserved: u32,
    pub peer: *const Peer,
    pub node_id: Str,
    pub topic: Str,
    pub group: Str,
    pub reason: Str,
}

/// `telex_events`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Events {
    pub event:
        Option<unsafe extern "C" fn(instance: *mut c_void, event: *const Event, call: *const Call) -> i32>,
    pub wants: Option<unsafe extern "C" fn(instance: *mut c_void) -> u64>,
}
