use super::{Route, RouteId, key};
use crate::{
    mapping::{At, Expression, Kind, MappingError, Named},
    synchronize::{self, Work},
};
use std::sync::Arc;

/// What an entity depends on: rows of another entity, whose objects must be at the remote first.
#[derive(Clone, Debug)]
pub struct Parent {
    /// The entity: `parent.<entity>` in expressions.
    pub entity: Arc<str>,
    /// Its route at the same remote.
    pub route: RouteId,
    /// Which of its rows.
    pub key: Arc<Expression>,
    /// Where that stands in the configuration.
    pub at: At,
}

/// The rows that one row depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParentKeys {
    /// Their keys, each once.
    pub keys: Vec<Arc<str>>,
    /// The configuration gives a list: in expressions they are one, however many there are.
    pub is_list: bool,
}

/// Tells each route whether others depend on it.
pub(super) fn tell(routes: &mut [Route]) {
    for child in 0..routes.len() {
        let parents: Vec<RouteId> = routes[child].parents.iter().map(|it| it.route).collect();
        let deletes = routes[child].synchronizer.deletes();
        for parent in parents {
            if let Some(parent) = routes.get_mut(usize::from(parent.0)) {
                parent.waited_for = true;
                parent.deleted_last |= deletes;
            }
        }
    }
}

impl Parent {
    /// The rows that this one depends on. `columns` are those of the parent's key.
    pub fn keys(&self, work: &Work<'_>, columns: &[String]) -> Result<ParentKeys, MappingError> {
        let named = self.key.named(&synchronize::scope(work))?;
        let mut found = ParentKeys::default();
        match named {
            Named::List(items)
                if columns.len() == 1 || items.iter().any(|it| matches!(it, Named::List(_))) =>
            {
                found.is_list = true;
                for item in items {
                    let key = self.one(item, columns)?;
                    found.keys.extend(key.filter(|key| !found.keys.contains(key)));
                }
            }
            named => found.keys.extend(self.one(named, columns)?),
        }
        Ok(found)
    }

    fn one(&self, named: Named, columns: &[String]) -> Result<Option<Arc<str>>, MappingError> {
        let parts = match named {
            Named::Nothing => return Ok(None),
            Named::Value(value) => vec![Named::Value(value)],
            Named::List(parts) => parts,
        };
        if parts.len() != columns.len() {
            return Err(self.fault(format!(
                "the key of `{}` has {} columns ({}), so a list of as many values is wanted, not of {}",
                self.entity,
                columns.len(),
                columns.join(", "),
                parts.len()
            )));
        }
        let mut values = Vec::with_capacity(parts.len());
        for part in &parts {
            match part {
                Named::Value(value) => values.push(value.as_str()),
                // As in a foreign key: one null, and it refers to nothing.
                Named::Nothing => return Ok(None),
                Named::List(_) => {
                    return Err(
                        self.fault(format!("a value of the key of `{}` is a list itself", self.entity))
                    );
                }
            }
        }
        let key = key::join(values);
        if key.len() > key::LONGEST {
            let (length, most) = (key.len(), key::LONGEST);
            return Err(self.fault(format!("the key has {length} bytes; at most {most} are possible")));
        }
        Ok(Some(key))
    }

    fn fault(&self, message: String) -> MappingError {
        MappingError::new(Kind::Evaluation, message, &self.at)
    }
}

#[cfg(test)]
mod tests;
