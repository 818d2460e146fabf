//! Knows the members of a request's body, each read in the form that it must have.
//! Never: which request has which.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde_json::value::RawValue;

use crate::limits::{ENDPOINTS_MAX, META_BYTES_MAX, NAME_BYTES_MAX, PAGE_ENTRIES_MAX};
use crate::name::NodeAddress;
use crate::wire::envelope::Value;
use crate::wire::message::{Refusal, string};

/// The members of a body. Of a doubled one the last counts, as for most readers of JSON.
pub(super) struct Fields<'a>(BTreeMap<Cow<'a, str>, &'a RawValue>);

impl<'a> Fields<'a> {
    pub(super) fn read(body: Option<&'a str>) -> Result<Fields<'a>, Refusal> {
        match body {
            None | Some("null") => Ok(Fields(BTreeMap::new())),
            Some(raw) => match serde_json::from_str(raw) {
                Ok(members) => Ok(Fields(members)),
                Err(_) => Err(Refusal::bad_field("body", raw, "an object")),
            },
        }
    }

    pub(super) fn raw(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).map(|raw| raw.get())
    }

    pub(super) fn text(&self, name: &str, most: usize) -> Result<Option<Cow<'a, str>>, Refusal> {
        self.raw(name).map(|raw| string(&format!("body.{name}"), Value::new(raw), most)).transpose()
    }

    pub(super) fn needed(&self, name: &str, most: usize) -> Result<Cow<'a, str>, Refusal> {
        self.text(name, most)?.ok_or_else(|| {
            Refusal::missing_field(&format!("body.{name}"), &format!("a string of 1 to {most} bytes"))
        })
    }

    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, Refusal> {
        match self.raw(name) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(raw) => Err(Refusal::bad_field(&format!("body.{name}"), raw, "true or false")),
        }
    }

    pub(super) fn word<T: Copy>(&self, name: &str, words: &[(&str, T)]) -> Result<Option<T>, Refusal> {
        let Some(raw) = self.raw(name) else { return Ok(None) };
        let given = crate::wire::json::unescape(raw);
        match words.iter().find(|(word, _)| raw.starts_with('"') && *word == given) {
            Some((_, value)) => Ok(Some(*value)),
            None => {
                let right =
                    words.iter().map(|(word, _)| format!("\"{word}\"")).collect::<Vec<_>>().join(" or ");
                Err(Refusal::bad_field(&format!("body.{name}"), raw, &right))
            }
        }
    }

    pub(super) fn limit(&self) -> Result<usize, Refusal> {
        let Some(raw) = self.raw("limit") else { return Ok(PAGE_ENTRIES_MAX) };
        if raw.bytes().all(|byte| byte.is_ascii_digit()) && raw != "0" {
            return Ok(raw.parse().map_or(PAGE_ENTRIES_MAX, |limit: usize| limit.min(PAGE_ENTRIES_MAX)));
        }
        Err(Refusal::bad_field("body.limit", raw, "an integer from 1 on (more than 1000 is taken as 1000)"))
    }

    /// An integer from `least` on.
    pub(super) fn integer<T: FromStr + PartialOrd + fmt::Display>(
        &self,
        name: &str,
        least: T,
    ) -> Result<Option<T>, Refusal> {
        let Some(raw) = self.raw(name) else { return Ok(None) };
        match raw.parse() {
            Ok(number) if number >= least => Ok(Some(number)),
            _ => Err(Refusal::bad_field(
                &format!("body.{name}"),
                raw,
                &format!("an integer from {least} on, of up to {} bits", 8 * size_of::<T>()),
            )),
        }
    }

    /// The number of a connection, which is written `:N`.
    pub(super) fn unique_id(&self, name: &str) -> Result<Option<u64>, Refusal> {
        let Some(text) = self.text(name, NAME_BYTES_MAX)? else { return Ok(None) };
        match NodeAddress::parse(&text) {
            Ok(NodeAddress::Unique(number)) if !text.contains('#') => Ok(Some(number)),
            _ => Err(Refusal::bad_field(
                &format!("body.{name}"),
                self.raw(name).unwrap_or_default(),
                "a unique id, such as \":7\"",
            )),
        }
    }

    pub(super) fn endpoints(&self) -> Result<Option<Vec<Cow<'a, str>>>, Refusal> {
        let Some(raw) = self.raw("endpoints") else { return Ok(None) };
        let right = "an array of up to 16 strings of 1 to 255 bytes";
        let bad = || Refusal::bad_field("body.endpoints", raw, right);
        let items: Vec<&'a RawValue> = serde_json::from_str(raw).map_err(|_| bad())?;
        if items.len() > ENDPOINTS_MAX {
            return Err(bad());
        }
        let item = |item: &&'a RawValue| string("body.endpoints", Value::new(item.get()), NAME_BYTES_MAX);
        items.iter().map(item).collect::<Result<_, _>>().map(Some)
    }

    pub(super) fn message(&self) -> Result<&'a str, Refusal> {
        match self.raw("message") {
            Some(raw) if raw.starts_with('{') => Ok(raw),
            Some(raw) => {
                Err(Refusal::bad_field("body.message", raw, "an object: a line as it would be sent"))
            }
            None => Err(Refusal::missing_field("body.message", "an object: a line as it would be sent")),
        }
    }

    pub(super) fn meta(&self) -> Result<Option<&'a str>, Refusal> {
        match self.raw("meta") {
            Some(raw) if raw != "null" && (!raw.starts_with('{') || raw.len() > META_BYTES_MAX) => {
                Err(Refusal::bad_field("body.meta", raw, "an object of up to 4096 bytes, or null"))
            }
            raw => Ok(raw),
        }
    }
}
