//! The visible table of classes, and how a program adds its own.

use super::{BuildError, Declared, Gate, Layer, Rules, Sequences, Synchronizer, ValidateRule};
use crate::mapping::{At, Names, ParentNames};
use serde_json::Value;
use std::{collections::BTreeMap, sync::Arc};

/// What an entity's configuration says about its synchronizer.
#[derive(Clone, Debug)]
pub struct Declaration<'a> {
    /// The entity's name.
    pub entity: &'a str,
    /// Its sequences; [`Declared`] carries them out.
    pub sequences: &'a Sequences,
    /// The `settings` of its class; null if there are none.
    pub settings: &'a Value,
    /// Its `when`.
    pub when: Option<&'a str>,
    /// Its `validate`.
    pub validate: &'a [ValidateRule],
    /// The rules around it, the most common ones first.
    pub rules: &'a [Layer<'a>],
    /// Whether it has a `batch`, so that its calls carry many rows.
    pub batched: bool,
    /// Its `always`.
    pub always: bool,
    /// Where it stands in the configuration: `entities.<name>`.
    pub at: At,
    /// The columns of its table, once they are known.
    pub columns: Option<Arc<[Arc<str>]>>,
    /// Whether it has a `fetch` query.
    pub fetched: bool,
    /// What it depends on, and the names those entities save.
    pub parents: Arc<[ParentNames]>,
}

/// Makes the synchronizer of one entity, or says all that is wrong with its settings.
pub type Build = fn(&Declaration<'_>) -> Result<Arc<dyn Synchronizer>, Vec<BuildError>>;

/// The class of an entity that names none.
pub const DECLARED: &str = "declared";

/// Every class of ours, by the name configuration uses.
pub const CLASSES: &[(&str, Build)] = &[(DECLARED, |declaration| Ok(Arc::new(Declared::new(declaration)?)))];

type Builder = dyn Fn(&Declaration<'_>) -> Result<Arc<dyn Synchronizer>, Vec<BuildError>> + Send + Sync;

/// The classes an entity may name: ours, and those of the program that embeds Rowcall.
#[derive(Clone)]
pub struct Classes(BTreeMap<String, Arc<Builder>>);

impl Default for Classes {
    fn default() -> Self {
        Self::standard()
    }
}

impl Classes {
    /// Those of [`CLASSES`].
    pub fn standard() -> Self {
        let ours = CLASSES.iter().map(|(name, build)| ((*name).to_owned(), Arc::new(*build) as Arc<Builder>));
        Self(ours.collect())
    }

    /// And this one. What it needs it is given here, by capture; a name that is taken is replaced.
    pub fn with(
        mut self,
        name: impl Into<String>,
        build: impl Fn(&Declaration<'_>) -> Result<Arc<dyn Synchronizer>, Vec<BuildError>> + Send + Sync + 'static,
    ) -> Self {
        self.0.insert(name.into(), Arc::new(build));
        self
    }

    /// The names there are, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Makes an entity's synchronizer, behind its `when` and `validate`.
    pub fn build(
        &self,
        class: Option<&str>,
        declaration: &Declaration<'_>,
    ) -> Result<Arc<dyn Synchronizer>, Vec<BuildError>> {
        let class = class.unwrap_or(DECLARED);
        let Some(build) = self.0.get(class) else {
            let known = self.names().collect::<Vec<_>>().join("`, `");
            let message = format!("there is no synchronizer class `{class}`: there are `{known}`");
            return Err(vec![BuildError::new(&declaration.at.child("class"), message)]);
        };
        let Declaration { sequences, always, at, columns, fetched, parents, .. } = declaration;
        // Whatever uses them would seem wrong too.
        let fragments = declaration.fragments()?;
        let inner = build(declaration).and_then(|inner| match inner.batching() {
            None if declaration.batched => {
                let message = format!(
                    "the class `{class}` makes calls for one row each: leave `batch` out, or declare the sequences"
                );
                Err(vec![BuildError::new(&at.child("batch"), message)])
            }
            _ => Ok(inner),
        });
        let saved = match &inner {
            Ok(inner) => inner.saves().into(),
            Err(_) => super::declared::saved_names(sequences),
        };
        let (columns, parents) = (columns.clone(), Arc::clone(parents));
        let names = Names { columns, saved, fetched: *fetched, parents, fragments, ..Names::default() };
        // The rules are read even if the steps are wrong, to say everything at once.
        match (inner, Rules::new(declaration, &names)) {
            (Ok(inner), Ok(rules)) if rules.is_empty() && !always => Ok(inner),
            (Ok(inner), Ok(rules)) => Ok(Arc::new(Gate::new(rules, inner, *always))),
            (inner, rules) => Err(inner.err().into_iter().chain(rules.err()).flatten().collect()),
        }
    }
}

#[cfg(test)]
mod tests;
