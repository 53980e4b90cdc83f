use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `redact`: what a record must not hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Redact {
    /// Headers of requests and answers whose values are masked. Cookies and what proves who we are
    /// always are.
    pub headers: Vec<String>,
    /// Places in bodies whose values are masked: `customer.ssn`, `items.*.iban` (any name or item), or
    /// `**.password` (at any depth). In a form a field goes by its name.
    pub paths: Vec<String>,
    /// Regular expressions; what they match is masked wherever it stands: in the URL, a body, or the words of
    /// a failure.
    pub patterns: Vec<String>,
}
