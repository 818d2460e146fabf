//! Knows how a library is loaded, for tests of plugins that are built already.
//! Never: what is done with it.
#![expect(unsafe_code, reason = "the loader speaks C")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::{Descriptor, raw};

unsafe extern "C" {
    fn dlopen(path: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
    fn dlerror() -> *const c_char;
}

const RTLD_NOW: c_int = 2;

/// Loads a plugin that is built already, such as one in C, for good. Its code runs in this process, and
/// nothing protects that from it.
pub fn load(path: &Path) -> Result<&'static Descriptor, String> {
    let name = CString::new(path.as_os_str().as_bytes()).map_err(|error| error.to_string())?;
    // SAFETY: both are texts with a NUL; what the library's constructors do is its author's matter.
    let symbol = unsafe {
        match dlopen(name.as_ptr(), RTLD_NOW) {
            library if library.is_null() => library,
            library => dlsym(library, c"telex_plugin".as_ptr()),
        }
    };
    if symbol.is_null() {
        // SAFETY: something has just failed, so there is a text, which stands until the next call.
        return Err(unsafe { CStr::from_ptr(dlerror()) }.to_string_lossy().into_owned());
    }
    // SAFETY: `telex_plugin` is a descriptor by the header's word, of which this has the form; it is never
    // unloaded.
    let descriptor = unsafe { &*symbol.cast::<Descriptor>() };
    let raw = descriptor.raw();
    let is_right =
        raw.magic == raw::MAGIC && raw.abi == raw::ABI && raw.size as usize >= size_of::<raw::Descriptor>();
    if is_right { Ok(descriptor) } else { Err("it was built for another version of telexd".to_owned()) }
}
