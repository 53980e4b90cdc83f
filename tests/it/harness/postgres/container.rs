use super::{Setup, Stop, Version};
use std::{fs, os::unix::fs::PermissionsExt, path::Path, sync::OnceLock};
use testcontainers::{
    ContainerAsync, CopyTargetOptions, GenericImage, ImageExt,
    core::{IntoContainerPort, Mount, WaitFor},
    runners::AsyncRunner,
};

/// A server in a container: what stands in for local programs where a Docker engine answers.
pub struct Container {
    pub port: u16,
    pub sockets: tempfile::TempDir,
    container: ContainerAsync<GenericImage>,
}

/// Whether to use containers: an engine answers, or `ROWCALL_TEST_POSTGRES` says so.
pub fn wanted() -> bool {
    static WANTED: OnceLock<bool> = OnceLock::new();
    *WANTED.get_or_init(|| {
        let docker = match std::env::var("ROWCALL_TEST_POSTGRES").as_deref() {
            Ok("docker") => true,
            Ok("local") => false,
            Ok(other) => panic!("ROWCALL_TEST_POSTGRES is `{other}`: it can be `docker` or `local`"),
            Err(_) => {
                std::env::var_os("DOCKER_HOST").is_some()
                    || std::os::unix::net::UnixStream::connect(Path::new("/var/run/docker.sock")).is_ok()
            }
        };
        let which = if docker {
            "containers, a Docker engine answers"
        } else {
            "local programs, no Docker engine answers"
        };
        eprintln!("harness: PostgreSQL from {which}");
        docker
    })
}

impl Container {
    pub async fn start(version: Version, setup: &Setup) -> Self {
        let sockets = tempfile::tempdir().expect("a directory for the socket");
        // The server in the container is another user, and the directory stays ours to remove.
        fs::set_permissions(sockets.path(), fs::Permissions::from_mode(0o777)).expect("its permissions");
        let mount = Mount::bind_mount(sockets.path().to_string_lossy(), "/var/run/postgresql");
        let port = super::free_port();
        // The files come as root's; the server wants them as its own.
        let script = "mkdir -p /etc/postgresql; cp /given/* /etc/postgresql/; chown -R postgres /etc/postgresql; \
             chmod 600 /etc/postgresql/*; exec docker-entrypoint.sh postgres -c config_file=/etc/postgresql/conf \
             -c hba_file=/etc/postgresql/hba";
        let conf = setup.conf.iter().map(|line| {
            // Files are named relative to the data directory.
            setup.files.iter().fold(line.clone(), |line, (name, _)| {
                line.replace(&format!("'{name}'"), &format!("'/etc/postgresql/{name}'"))
            }) + "\n"
        });
        let conf = conf.collect::<String>() + "listen_addresses = '*'\n";
        let hba = setup.hba.join("\n")
            + "\nlocal all all trust\nhost all all all trust\nhost replication all all trust\n";
        let mut image = GenericImage::new("postgres", version.major())
            .with_wait_for(WaitFor::message_on_stderr("database system is ready to accept connections"))
            .with_entrypoint("sh")
            .with_cmd(["-c", script])
            .with_env_var("POSTGRES_HOST_AUTH_METHOD", "trust")
            .with_mapped_port(port, 5432.tcp())
            .with_mount(mount);
        let own = [("conf", &conf), ("hba", &hba)];
        for (name, text) in
            own.into_iter().chain(setup.files.iter().map(|(name, text)| (name.as_str(), text)))
        {
            image = image
                .with_copy_to(CopyTargetOptions::new(format!("/given/{name}")), text.clone().into_bytes());
        }
        let container = image.start().await.expect("a container of PostgreSQL");
        Self { port, sockets, container }
    }

    pub async fn stop(&self, how: Stop) {
        let seconds = match how {
            Stop::Fast => 30,
            Stop::Immediate => 0,
        };
        self.container.stop_with_timeout(Some(seconds)).await.expect("to stop the container");
    }

    pub async fn start_again(&self) {
        self.container.start().await.expect("to start the container again");
    }
}
