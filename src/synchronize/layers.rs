use super::{BuildError, Declaration};
use crate::{
    mapping::{At, Fragments},
    model,
};
use std::sync::Arc;

/// The rules of one place of the configuration, and where they stand.
#[derive(Clone, Debug)]
pub struct Layer<'a> {
    /// The rules.
    pub rules: &'a model::DataRules,
    /// Their place: `rules`, `remotes.<name>.rules`, `entities.<name>.rules`.
    pub at: At,
}

impl Declaration<'_> {
    /// The fragments that its expressions may use: of two with one name, the nearer.
    pub fn fragments(&self) -> Result<Arc<Fragments>, Vec<BuildError>> {
        fragments(self.rules)
    }
}

/// The fragments of these layers: of two with one name, the nearer.
pub fn fragments(layers: &[Layer<'_>]) -> Result<Arc<Fragments>, Vec<BuildError>> {
    let layers = layers.iter().map(|layer| (&layer.rules.fragments, layer.at.child("fragments")));
    let fragments = Fragments::new(layers);
    fragments.map(Arc::new).map_err(|errors| errors.into_iter().map(BuildError::from).collect())
}
