use std::{
    cell::RefCell,
    fmt::{Arguments, Write},
    sync::Arc,
};

thread_local! {
    static DRAFT: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Written as by `format!`, but into memory of just its size, and not first into some that is given back.
pub fn shared(text: Arguments<'_>) -> Arc<str> {
    DRAFT.with_borrow_mut(|draft| {
        draft.clear();
        // A string takes whatever is written to it.
        let written = draft.write_fmt(text);
        debug_assert!(written.is_ok(), "{written:?}");
        Arc::from(draft.as_str())
    })
}
