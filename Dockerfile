# docker build -t rowcall .
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin rowcall && cp target/release/rowcall /rowcall

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /rowcall /usr/local/bin/rowcall
WORKDIR /etc/rowcall
ENTRYPOINT ["/usr/local/bin/rowcall"]
CMD ["run", "--config", "/etc/rowcall/rowcall.yaml"]
