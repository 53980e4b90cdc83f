use std::{
    cell::RefCell,
    fmt::{Arguments, Write},
    sync::Arc,
};

/// A draft that is longer is not kept.
const LONGEST: usize = 16 << 10;

thread_local! {
    static DRAFT: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Written as by `format!`, but into memory of just its size, and not first into some that is given back.
pub fn shared(text: Arguments<'_>) -> Arc<str> {
    shared_by(|draft| {
        // A string takes whatever is written to it.
        let written = draft.write_fmt(text);
        debug_assert!(written.is_ok(), "{written:?}");
    })
}

/// The same for what is written piece by piece.
pub(super) fn shared_by(write: impl FnOnce(&mut String)) -> Arc<str> {
    // Taken out, since what is written may ask for a draft of its own.
    let mut draft = DRAFT.take();
    draft.clear();
    write(&mut draft);
    let text = Arc::from(draft.as_str());
    if draft.capacity() <= LONGEST {
        DRAFT.set(draft);
    }
    text
}
