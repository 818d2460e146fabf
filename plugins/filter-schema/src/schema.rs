//! Knows how a schema becomes a validator, and which files it may be made of.
//! Never: which messages it is for.

use std::error::Error;
use std::path::{Path, PathBuf};

use jsonschema::error::ValidationErrorKind;
use jsonschema::{PatternOptions, ReferencingError, Retrieve, Uri, ValidationError, Validator, meta};
use serde_json::Value;

use crate::json;

/// Of a schema that stands in the configuration itself.
pub(crate) fn inline(schema: &Value) -> Result<Validator, String> {
    build(schema, Folder(None))
}

/// Of a schema in a file, which may refer to others in its folder.
pub(crate) fn from_file(path: &Path) -> Result<Validator, String> {
    if !path.is_absolute() {
        return Err(format!("is {path:?}; it must be an absolute path"));
    }
    let schema = read(path)?;
    let folder = path.canonicalize().ok().and_then(|path| Some(path.parent()?.to_owned()));
    build(&schema, Folder(folder)).map_err(|error| format!("{path:?}: {error}"))
}

fn read(path: &Path) -> Result<Value, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{path:?} cannot be read: {error}"))?;
    json::read(&text).map_err(|error| format!("{path:?} is not right: {error}"))
}

fn build(schema: &Value, folder: Folder) -> Result<Validator, String> {
    jsonschema::options()
        .with_base_uri(FOLDER)
        .with_retriever(folder)
        // Whoever writes a format means it, in all drafts.
        .should_validate_formats(true)
        // The other kind of expressions can take for ever, on what a peer has sent.
        .with_pattern_options(PatternOptions::regex())
        .build(schema)
        .map_err(|error| tell(&error))
}

fn tell(error: &ValidationError<'_>) -> String {
    match (error.kind(), error.instance_path().as_str()) {
        (ValidationErrorKind::Referencing(ReferencingError::Unretrievable { source, .. }), _) => {
            source.to_string()
        }
        (_, "") => error.to_string(),
        (_, path) => format!("at {path:?}: {error}"),
    }
}

/// What stands for the folder of a schema file. Relative references are resolved against it; those that climb
/// out do not begin with it any more.
const FOLDER: &str = "folder:/of-the-schema/";

/// Where files that are referred to are looked for, without symbolic links in its path. None for an inline
/// schema.
struct Folder(Option<PathBuf>);

impl Retrieve for Folder {
    fn retrieve(&self, uri: &Uri<String>) -> Result<Value, Box<dyn Error + Send + Sync>> {
        let inside = uri.as_str().strip_prefix(FOLDER);
        let name = inside.unwrap_or(uri.as_str().trim_start_matches("folder:"));
        let Some(folder) = &self.0 else {
            return Err(format!(
                "refers to {name:?}; only a schema_file can do that, to files in its folder"
            )
            .into());
        };
        let path = folder.join(uri.path().decode().to_string_lossy().trim_start_matches("/of-the-schema/"));
        let leads_out = path.canonicalize().is_ok_and(|path| !path.starts_with(folder));
        if inside.is_none() || leads_out {
            return Err(
                format!("refers to {name:?}; it must be a file in {folder:?}, by a relative path").into()
            );
        }
        let schema = read(&path)?;
        meta::validate(&schema).map_err(|error| format!("{path:?}: {}", tell(&error)))?;
        Ok(schema)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn told(schema: Value) -> String {
        inline(&schema).err().unwrap_or_else(|| panic!("{schema} is taken"))
    }

    #[test]
    fn what_is_wrong_with_a_schema_is_told_with_its_place() {
        for (schema, wanted) in [
            (json!(5), "5 is not of types \"boolean\", \"object\""),
            (json!({"properties": {"a": {"type": "nmber"}}}), "at \"/properties/a/type\": \"nmber\" is not"),
            (json!({"pattern": "("}), "at \"/pattern\": \"(\" is not a \"regex\""),
            (json!({"$ref": "#/$defs/a"}), "Pointer '/$defs/a' does not exist"),
            (
                json!({"$schema": "http://example.com/draft"}),
                "Unknown meta-schema: 'http://example.com/draft'",
            ),
        ] {
            let told = told(schema);
            assert!(told.starts_with(wanted), "{told}");
        }
    }

    /// Backtracking would let one message hold up everybody.
    #[test]
    fn expressions_that_need_backtracking_are_refused() {
        for pattern in ["(?=x)", "(a)\\1"] {
            let told = told(json!({"type": "string", "pattern": pattern}));
            assert!(told.starts_with("at \"/pattern\": "), "{told}");
        }
    }

    #[test]
    fn formats_are_looked_at_in_all_drafts() {
        for draft in
            ["http://json-schema.org/draft-07/schema#", "https://json-schema.org/draft/2020-12/schema"]
        {
            let schema = json!({"$schema": draft, "format": "date"});
            let validator = inline(&schema).unwrap();
            assert!(
                validator.is_valid(&json!("2024-02-29")) && !validator.is_valid(&json!("2023-02-29")),
                "{draft}"
            );
        }
    }

    #[test]
    fn a_schema_that_refers_to_itself_ends() {
        assert!(inline(&json!({"allOf": [{"$ref": "#"}]})).unwrap().is_valid(&json!(1)));
        let list = inline(&json!({"type": "array", "items": {"$ref": "#"}})).unwrap();
        assert!(list.is_valid(&json!([[], [[]]])) && !list.is_valid(&json!([[1]])));
    }

    #[test]
    fn a_schema_in_the_configuration_refers_to_nothing_else() {
        for name in
            ["http://example.com/a.json", "https://example.com/a.json", "file:///etc/passwd", "a.json"]
        {
            let expected =
                format!("refers to {name:?}; only a schema_file can do that, to files in its folder");
            assert_eq!(told(json!({"$ref": name})), expected);
        }
    }

    /// A folder `in` with a file `schema.json`, and other files in it and beside it.
    fn told_of_file(schema: Value) -> Result<Validator, String> {
        let place = tempfile::tempdir().unwrap();
        let (outside, inside) = (place.path(), place.path().join("in"));
        fs::create_dir_all(inside.join("deep")).unwrap();
        fs::write(outside.join("secret.json"), "{}").unwrap();
        symlink("../secret.json", inside.join("link.json")).unwrap();
        fs::write(inside.join("a b.json"), r#"{"type":"string"}"#).unwrap();
        fs::write(inside.join("deep/a.json"), r#"{"$ref":"../a%20b.json"}"#).unwrap();
        fs::write(inside.join("bad.json"), r#"{"type":"strng"}"#).unwrap();
        fs::write(inside.join("twice.json"), r#"{"type":"string","type":"number"}"#).unwrap();
        fs::write(inside.join("schema.json"), schema.to_string()).unwrap();
        let place = place.path().to_str().unwrap();
        from_file(&inside.join("schema.json")).map_err(|told| told.replace(place, ""))
    }

    #[test]
    fn a_schema_file_refers_to_files_in_its_folder() {
        for name in ["a%20b.json", "deep/a.json", "./deep/../a%20b.json", "schema.json#/$defs/a"] {
            let schema = json!({"items": {"$ref": name}, "$defs": {"a": {"type": "string"}}});
            let validator = told_of_file(schema).unwrap();
            assert!(validator.is_valid(&json!(["x"])) && !validator.is_valid(&json!([1])), "{name}");
        }
    }

    #[test]
    fn a_schema_file_refers_to_nothing_outside_of_its_folder() {
        for name in [
            "http://example.com/a.json",
            "https://example.com/a.json",
            "file:///etc/passwd",
            "//host/a.json",
            "/etc/passwd",
            "../secret.json",
            "deep/../../secret.json",
            "%2e%2e/secret.json",
            "..%2fsecret.json",
            "link.json",
        ] {
            let told = told_of_file(json!({"$ref": name})).err().unwrap_or_else(|| panic!("{name} is taken"));
            assert!(told.starts_with("\"/in/schema.json\": refers to \""), "{name}: {told}");
            assert!(told.ends_with("\"; it must be a file in \"/in\", by a relative path"), "{name}: {told}");
        }
        let told = told_of_file(json!({"$id": "https://example.com/", "$ref": "deep/a.json"})).err().unwrap();
        assert!(told.contains("refers to \"https://example.com/deep/a.json\"; it must be"), "{told}");
    }

    #[test]
    fn what_is_wrong_with_a_file_is_told_with_its_name() {
        for (name, wanted) in [
            ("none.json", "\"/in/none.json\" cannot be read: No such file"),
            ("bad.json", "\"/in/bad.json\": at \"/type\": \"strng\" is not"),
            ("twice.json", "\"/in/twice.json\" is not right: the key \"type\" is given twice at line 1"),
        ] {
            let told = told_of_file(json!({"$ref": name})).err().unwrap();
            assert!(told.starts_with(&format!("\"/in/schema.json\": {wanted}")), "{told}");
        }
        let told = |path: &str| from_file(Path::new(path)).err().unwrap();
        assert_eq!(told("heat.json"), "is \"heat.json\"; it must be an absolute path");
        assert!(
            told("/nowhere/heat.json").starts_with("\"/nowhere/heat.json\" cannot be read: No such file")
        );
    }
}
