//! What a schema allows at one place. Only what schemars writes for our settings is understood;
//! a test holds the schema to that.

use serde_json::Value;

/// The schema of the file, by which references are resolved.
#[derive(Clone, Copy)]
pub struct Schema<'a>(pub &'a Value);

impl<'a> Schema<'a> {
    /// The alternatives at this place, with references and unions taken apart.
    pub fn leaves(self, schema: &'a Value) -> Vec<Leaf<'a>> {
        let mut leaves = Vec::new();
        self.collect(schema, false, &mut leaves);
        leaves
    }

    fn collect(self, schema: &'a Value, secret: bool, leaves: &mut Vec<Leaf<'a>>) {
        let secret = secret || schema.get("writeOnly") == Some(&Value::Bool(true));
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            let target = self.0.pointer(reference.trim_start_matches('#'));
            return self.collect(target.unwrap_or(&Value::Null), secret, leaves);
        }
        match schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Value::as_array) {
            Some(branches) => branches.iter().for_each(|it| self.collect(it, secret, leaves)),
            None => leaves.push(Leaf { schema, secret }),
        }
    }
}

/// One alternative: no reference and no union.
#[derive(Clone, Copy)]
pub struct Leaf<'a> {
    pub schema: &'a Value,
    pub secret: bool,
}

impl<'a> Leaf<'a> {
    /// The JSON types it takes; none if anything goes.
    pub fn types(self) -> Vec<&'a str> {
        match self.schema.get("type") {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }

    pub fn is_any(self) -> bool {
        self.types().is_empty()
    }

    pub fn takes(self, ty: &str) -> bool {
        let types = self.types();
        types.is_empty() || types.contains(&ty)
    }

    /// The values it is limited to, if it is.
    pub fn choices(self) -> Vec<&'a str> {
        match (self.schema.get("enum"), self.schema.get("const")) {
            (Some(Value::Array(all)), _) => all.iter().filter_map(Value::as_str).collect(),
            (_, Some(Value::String(one))) => vec![one],
            _ => Vec::new(),
        }
    }

    pub fn bound(self, name: &str) -> Option<i128> {
        self.schema.get(name)?.to_string().parse().ok()
    }

    /// The keys of its own.
    pub fn keys(self) -> Vec<&'a str> {
        let properties = self.schema.get("properties").and_then(Value::as_object);
        properties.map(|it| it.keys().map(String::as_str).collect()).unwrap_or_default()
    }

    pub fn required(self) -> Vec<&'a str> {
        let required = self.schema.get("required").and_then(Value::as_array);
        required.map(|it| it.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
    }

    /// What the value of a key must be; `None` if there may be no such key.
    pub fn property(self, key: &str) -> Option<&'a Value> {
        const ANY: &Value = &Value::Bool(true);
        if let Some(own) = self.schema.get("properties").and_then(|it| it.get(key)) {
            return Some(own);
        }
        if let Some(Value::Object(patterns)) = self.schema.get("patternProperties") {
            // The one pattern there is: the statuses of `on`.
            let digits = !key.is_empty() && key.bytes().all(|it| it.is_ascii_digit());
            return digits.then(|| patterns.get(DIGITS)).flatten();
        }
        match self.schema.get("additionalProperties") {
            Some(Value::Bool(false)) => None,
            Some(schema) => Some(schema),
            None => Some(ANY),
        }
    }
}

/// How schemars writes that a key is a number.
pub const DIGITS: &str = "^\\d+$";

/// What the alternatives take, in words: `text or a list`.
pub fn describe(leaves: &[Leaf<'_>]) -> String {
    let choices: Vec<_> = leaves.iter().flat_map(|it| it.choices()).map(|it| format!("`{it}`")).collect();
    let mut words: Vec<String> = Vec::new();
    if choices.len() > 1 {
        words.push(format!("one of {}", choices.join(", ")));
    } else {
        words.extend(choices);
    }
    for leaf in leaves.iter().filter(|it| it.choices().is_empty()) {
        for ty in leaf.types() {
            let word = match ty {
                "string" => "text",
                "integer" => "a whole number",
                "number" => "a number",
                "boolean" => "`true` or `false`",
                "array" => "a list",
                "object" => "a mapping",
                _ => continue,
            };
            if !words.iter().any(|it| it == word) {
                words.push(word.to_owned());
            }
        }
    }
    words.join(" or ")
}
