//! Where the parts of an expression are written. The parser names one token a part; messages point
//! at names.

use super::Lowering;
use cel::common::ast::IdedExpr;
use std::ops::Range;

impl Lowering<'_> {
    /// The token the parser names for this part.
    pub(super) fn span(&self, expr: &IdedExpr) -> Range<usize> {
        match self.source.offset_for(expr.id) {
            Some((start, stop)) => self.bytes(start)..self.bytes(stop.saturating_add(1)),
            None => 0..self.source.source.len(),
        }
    }

    /// The parser's offsets are bytes; a cut is only made between characters.
    fn bytes(&self, offset: u32) -> usize {
        let text = &self.source.source;
        let mut at = (offset as usize).min(text.len());
        while !text.is_char_boundary(at) {
            at += 1;
        }
        at
    }

    /// The name that stands behind this part's token, the dot.
    pub(super) fn name_after(&self, expr: &IdedExpr, name: &str) -> Range<usize> {
        let token = self.span(expr);
        match self.source.source[token.start..].find(name) {
            Some(at) => token.start + at..token.start + at + name.len(),
            None => token,
        }
    }

    /// The name that stands before this part's token, the opening bracket.
    pub(super) fn name_before(&self, expr: &IdedExpr, name: &str) -> Range<usize> {
        let token = self.span(expr);
        match self.source.source[..token.end].rfind(name) {
            Some(at) => at..at + name.len(),
            None => token,
        }
    }
}
