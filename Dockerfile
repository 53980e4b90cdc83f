# docker build -t rowcall .
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin rowcall && cp target/release/rowcall /rowcall
# Where the spool and the embedded log of calls are: the volume takes over to whom it belongs.
RUN mkdir -p /data

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /rowcall /usr/local/bin/rowcall
COPY --from=build --chown=nonroot:nonroot /data /var/lib/rowcall
WORKDIR /var/lib/rowcall
ENV ROWCALL_CONFIG=/etc/rowcall/rowcall.yaml
VOLUME /var/lib/rowcall
EXPOSE 8087
# There is no shell in the image: the program asks itself.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["/usr/local/bin/rowcall", "ready"]
ENTRYPOINT ["/usr/local/bin/rowcall"]
CMD ["run"]
