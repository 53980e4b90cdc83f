use super::{Fault, Settings, auth, tls};

/// What is wrong with a remote's `auth` and `tls`, before anything is made of them.
pub fn check(settings: &Settings) -> Vec<Fault> {
    let mut faults = auth::check(settings);
    faults.extend(settings.tls.as_ref().and_then(|it| tls::check(it, &["tls"]).err()));
    faults
}
