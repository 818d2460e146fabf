//! JSON Pointers, by serde_json's tree.

use serde_json::Value;
use telex::wire::envelope::{Broken, Envelope};
use telex::wire::pointer::find;

/// Compares what is found in a text by pointers that lead through it, and by some that miss it. Says how
/// far they led.
pub(crate) fn check(json: &str, steps: &[u8]) -> usize {
    if matches!(Envelope::scan(json.as_bytes()), Err(Broken::BadJson { .. })) {
        return 0;
    }
    // Deeper than serde_json goes by itself, or numbers that it does not take.
    let Ok(tree) = serde_json::from_str::<Value>(json) else { return 0 };
    let mut pointer = String::new();
    let mut at = Some(&tree);
    for (depth, step) in steps.iter().enumerate() {
        compare(json, &tree, &pointer);
        for miss in ["/", "/-", "/00", "/+1", "/nobody", "/~0~1"] {
            compare(json, &tree, &format!("{pointer}{miss}"));
        }
        let token = match at {
            Some(Value::Object(members)) if !members.is_empty() => {
                let (key, value) = members.iter().nth(usize::from(*step) % members.len()).expect("a member");
                at = Some(value);
                key.clone()
            }
            // Also the place behind the last item.
            Some(Value::Array(items)) => {
                let index = usize::from(*step) % (items.len() + 1);
                at = items.get(index);
                index.to_string()
            }
            _ => return depth,
        };
        pointer += &format!("/{}", token.replace('~', "~0").replace('/', "~1"));
    }
    steps.len()
}

fn compare(json: &str, tree: &Value, pointer: &str) {
    let found = find(json, pointer).unwrap_or_else(|error| panic!("{pointer} {error}"));
    let got = found.map(|raw| serde_json::from_str::<Value>(raw).expect("a value"));
    assert_eq!(got.as_ref(), tree.pointer(pointer), "{pointer} in {json}");
    if let Some(raw) = found {
        let inside = json.as_bytes().as_ptr_range();
        assert!(inside.contains(&raw.as_ptr()) && raw.trim() == raw, "{pointer} in {json}: {raw}");
    }
}
