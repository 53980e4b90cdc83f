use super::{
    At, Escape, Expression, Kind, MappingError, Names, Reads, Scope, braces,
    expression::{Problem, shown},
};

/// Text with expressions in it: a path, a header, a text body.
#[derive(Debug)]
pub struct Text {
    parts: Vec<Part>,
    escape: Escape,
    at: At,
}

#[derive(Debug)]
enum Part {
    Literal(String),
    Value(Expression),
}

impl Text {
    /// Compiles a template. What expressions yield is escaped; what is written out is not.
    pub fn parse(text: &str, at: &At, names: &Names, escape: Escape) -> Result<Self, MappingError> {
        let split = braces::split(text).map_err(|braces::Unclosed(span)| {
            let message = "this `{{` has no `}}`; a literal one is written `{{ '{{' }}`".to_owned();
            MappingError::within(Problem { kind: Kind::Syntax, message, span }, text, at)
        })?;
        let compile = |part| match part {
            braces::Part::Literal(literal) => Ok(Part::Literal(literal.to_owned())),
            braces::Part::Expression(inner) => Expression::compile(inner, at, names).map(Part::Value),
        };
        Ok(Self { parts: split.into_iter().map(compile).collect::<Result<_, _>>()?, escape, at: at.clone() })
    }

    /// Appends the text.
    pub fn write(&self, scope: &Scope<'_>, out: &mut String) -> Result<(), MappingError> {
        let start = out.len();
        self.write_parts(scope, out)?;
        if self.escape == Escape::Path && leads_elsewhere(&out[start..]) {
            let shown = shown(&out[start..]);
            out.truncate(start);
            let message = format!("a value makes the path {shown}, whose dots would lead to another path");
            return Err(MappingError::new(Kind::Evaluation, message, &self.at));
        }
        Ok(())
    }

    fn write_parts(&self, scope: &Scope<'_>, out: &mut String) -> Result<(), MappingError> {
        for part in &self.parts {
            match part {
                Part::Literal(literal) => out.push_str(literal),
                Part::Value(expression) => {
                    let value = expression.val(scope)?;
                    let text = value.text().map_err(|fault| expression.fault(fault))?;
                    self.escape.write(&text, out);
                }
            }
        }
        Ok(())
    }

    /// Adds what its expressions read.
    pub fn reads(&self, reads: &mut Reads) {
        for part in &self.parts {
            match part {
                Part::Literal(_) => {}
                Part::Value(expression) => expression.reads(reads),
            }
        }
    }

    /// Whether it is the same for every row.
    pub fn is_constant(&self) -> bool {
        self.parts.iter().all(|part| match part {
            Part::Literal(_) => true,
            Part::Value(expression) => expression.is_constant(),
        })
    }
}

/// Whether a segment of the path is `.` or `..`, which clients and servers take for "here" and "up",
/// encoded or not.
fn leads_elsewhere(path: &str) -> bool {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    path.split('/').any(|segment| segment == "." || segment == "..")
}
