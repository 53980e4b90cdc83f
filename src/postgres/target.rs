use secrecy::SecretString;
use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

/// What a connection URL says: where the server is and how to log in.
#[derive(Clone, Debug)]
pub struct Target {
    /// Tried in this order.
    pub hosts: Vec<Host>,
    /// The role to log in as.
    pub user: String,
    /// Never shown by `Debug`.
    pub password: Option<SecretString>,
    /// The database's name.
    pub database: String,
    /// `sslmode`.
    pub sslmode: SslMode,
    /// `sslrootcert`.
    pub root_cert: Option<RootCert>,
    /// `sslcert` and `sslkey`: how we show who we are.
    pub client_cert: Option<(PathBuf, PathBuf)>,
    /// `channel_binding`.
    pub channel_binding: ChannelBinding,
    /// `target_session_attrs`.
    pub session: SessionAttrs,
    /// `connect_timeout`, for each host; `None` waits as long as the network does.
    pub connect_timeout: Option<Duration>,
    /// `application_name`, as the server's views show it.
    pub application_name: String,
    /// `options`: command-line options for the server's process.
    pub options: Option<String>,
}

impl Target {
    /// The hosts as an error message names them.
    pub fn place(&self) -> String {
        let hosts: Vec<_> = self.hosts.iter().map(Host::to_string).collect();
        hosts.join(", ")
    }
}

impl FromStr for Target {
    type Err = BadTarget;
    fn from_str(text: &str) -> Result<Self, BadTarget> {
        super::parameters::target(super::url::pairs(text)?)
    }
}

/// One server to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Where it is.
    pub address: Address,
    /// Also part of a unix socket's file name.
    pub port: u16,
}

/// A host's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A name or an IP address.
    Tcp(String),
    /// The directory of a unix socket.
    Unix(PathBuf),
}

impl Host {
    /// The socket's file, for a unix socket.
    pub fn socket(&self) -> Option<PathBuf> {
        match &self.address {
            Address::Tcp(_) => None,
            Address::Unix(directory) => Some(socket_file(directory, self.port)),
        }
    }
}

fn socket_file(directory: &Path, port: u16) -> PathBuf {
    directory.join(format!(".s.PGSQL.{port}"))
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            Address::Tcp(name) if name.contains(':') => write!(f, "[{name}]:{}", self.port),
            Address::Tcp(name) => write!(f, "{name}:{}", self.port),
            Address::Unix(directory) => write!(f, "{}", socket_file(directory, self.port).display()),
        }
    }
}

macro_rules! words {
    ($(#[$doc:meta])* $ty:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $ty { $($(#[$vdoc])* $variant),+ }

        impl $ty {
            /// Every value's word, as a URL writes it.
            pub const WORDS: &[&str] = &[$($word),+];

            /// The word a URL writes.
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// Reads the word a URL writes.
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

words! {
    /// How much encryption is asked for, as libpq means it.
    SslMode {
        /// Never encrypted.
        Disable = "disable",
        /// Encrypted only if the server refuses us otherwise.
        Allow = "allow",
        /// Encrypted if the server can.
        Prefer = "prefer",
        /// Encrypted; the certificate is looked at only when `sslrootcert` is given.
        Require = "require",
        /// Encrypted, the certificate's chain is verified.
        VerifyCa = "verify-ca",
        /// Encrypted, the chain and the host name are verified.
        VerifyFull = "verify-full",
    }
}

words! {
    /// Whether the login is tied to the TLS connection.
    ChannelBinding {
        /// Never.
        Disable = "disable",
        /// If the server can.
        Prefer = "prefer",
        /// Or no connection at all.
        Require = "require",
    }
}

words! {
    /// What kind of server will do.
    SessionAttrs {
        /// Any.
        Any = "any",
        /// Writes are possible.
        ReadWrite = "read-write",
        /// Writes are not possible.
        ReadOnly = "read-only",
        /// Not in recovery.
        Primary = "primary",
        /// In recovery.
        Standby = "standby",
        /// In recovery if there is one, else any.
        PreferStandby = "prefer-standby",
    }
}

/// Whose signature on the server's certificate is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootCert {
    /// The operating system's.
    System,
    /// A PEM file's.
    File(PathBuf),
}

/// A URL that cannot be used: what is wrong with it, without its secrets.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadTarget(pub(super) String);
