//! The guard as a dynamic module: found wherever Envoy, Istio and Envoy Gateway can load it, read as the module reads it,
//! and looked at with what surrounds it.

use crate::check::{line_of, with};
use crate::program::{Run, file, run};
use crate::sign::lenient;
use data_encoding::{BASE64, BASE64URL_NOPAD};
use serde_json::Value;

const SECRET: &str = "a-secret-of-a-file-01";
/// A filter of the dynamic module in a chain, as it should be, and a route of its own.
const NATIVE: &str = r#"name: envoy.filters.network.http_connection_manager
typed_config:
  use_remote_address: true
  http_filters:
  - name: webhook_guard
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter
      dynamic_module_config:
        name: webhook_guard
        do_not_close: true
      filter_name: webhook_guard
      filter_config:
        "@type": type.googleapis.com/google.protobuf.StringValue
        value: |
          {
            "environment": ["A", "B"],
            "policies": [
              {"name": "a", "match": {"path": "/a"},
               "require": {"token": {"bearer": true, "secrets": [{"env": "A"}]}}}
            ]
          }
  - name: envoy.filters.http.router
  route_config:
    virtual_hosts:
    - routes:
      - match: {prefix: /b}
        typed_per_filter_config:
          webhook_guard:
            "@type": type.googleapis.com/envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilterPerRoute
            dynamic_module_config: {name: webhook_guard, do_not_close: true}
            per_route_config_name: webhook_guard
            filter_config:
              "@type": type.googleapis.com/google.protobuf.Struct
              value:
                environment: [B]
                policies:
                - name: b
                  match: {path: {prefix: /b}}
                  require: {token: {bearer: true, secrets: [{env: B}]}}
"#;
const GATEWAY: &str = r"apiVersion: gateway.envoyproxy.io/v1alpha1
kind: EnvoyExtensionPolicy
metadata: {name: webhooks}
spec:
  dynamicModule:
  - name: webhook-guard
    filterName: webhook_guard
    config:
      environment: [A]
      policies:
      - name: a
        match: {path: /a}
        require: {token: {bearer: true, secrets: [{env: A}]}}
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: EnvoyProxy
spec:
  dynamicModules:
  - name: webhook-guard
    doNotClose: true
    source: {type: Local, local: {path: /opt/libwebhook_guard.so}}
";
const VARIABLES: [(&str, &str); 2] = [("A", "0123456789abcdef"), ("B", "fedcba9876543210")];

/// A name, a file, and for each finding its severity and code, and its place: what stands there, behind a `^` where more of
/// the line has to be told.
type Row<'r> = (&'r str, String, &'r [(&'r str, &'r str)]);

fn check(name: &str, text: &str) -> Run {
    let path = file("native", &format!("{name}.yaml"), text);
    run(&["check", "--format", "json", &path], &VARIABLES, b"")
}

/// The findings as `SEVERITY CODE LINE:COLUMN`.
fn findings(run: &Run) -> Vec<String> {
    let list: Vec<Value> =
        serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {run:?}"));
    let text = |one: &Value, key: &str| one[key].as_str().unwrap().to_owned();
    let line =
        |one| format!("{} {} {}:{}", text(one, "severity"), text(one, "code"), one["line"], one["column"]);
    list.iter().map(line).collect()
}

fn place(text: &str, mark: &str) -> String {
    let (before, what) = mark.split_once('^').unwrap_or(("", mark));
    let whole = format!("{before}{what}");
    let line = line_of(text, &whole);
    let column = text.lines().nth(line - 1).unwrap().find(&whole).unwrap() + before.len() + 1;
    format!("{line}:{column}")
}

fn assert_rows(rows: Vec<Row<'_>>) {
    for (name, text, expected) in rows {
        let run = check(name, &text);
        let expected: Vec<String> =
            expected.iter().map(|(code, mark)| format!("{code} {}", place(&text, mark))).collect();
        assert_eq!(findings(&run), expected, "{name}: {run:?}");
        let is_refused = expected.iter().any(|one| one.starts_with("error"));
        assert_eq!(run.status, i32::from(is_refused), "{name}: {run:?}");
    }
}

#[test]
fn how_the_library_is_loaded_is_looked_at() {
    let open = "        do_not_close: true\n";
    let named = format!("        name: webhook_guard\n{open}");
    let in_filter = "      filter_name: webhook_guard\n";
    let field = |field: &str| with(NATIVE, in_filter, &format!("{in_filter}      {field}\n"));
    let in_route = "{name: webhook_guard, do_not_close: true}";
    let in_place = |other: &str| with(NATIVE, &named, &format!("        {other}\n{open}"));
    assert_rows(vec![
        ("as it should be", NATIVE.to_owned(), &[]),
        (
            "another name",
            in_place("name: webhook-guard"),
            &[("warning module-name", "        name: ^webhook-guard")],
        ),
        (
            "another name in a route",
            with(NATIVE, in_route, "{name: libwebhook_guard.so, do_not_close: true}"),
            &[("warning module-name", "libwebhook_guard.so")],
        ),
        ("no name", in_place("load_globally: false"), &[("warning module-name", "load_globally")]),
        ("its file instead", in_place("module: {local: {filename: /opt/libwebhook_guard.so}}"), &[]),
        (
            "may be closed",
            with(NATIVE, open, ""),
            &[("warning do-not-close", "        ^name: webhook_guard")],
        ),
        (
            "may be closed, and says so",
            with(NATIVE, open, "        do_not_close: false\n"),
            &[("warning do-not-close", "        ^name: webhook_guard")],
        ),
        (
            "may be closed by a route",
            with(NATIVE, in_route, "{name: webhook_guard}"),
            &[("warning do-not-close", "{name: webhook_guard}")],
        ),
        (
            "a policy for failures",
            field("failure_policy: FAIL_RELOAD"),
            &[("warning wasm-option", "FAIL_RELOAD")],
        ),
        ("open", field("failure_policy: FAIL_OPEN"), &[("warning wasm-option", "FAIL_OPEN")]),
        ("open, the old way", field("fail_open: true"), &[("warning wasm-option", "fail_open: ^true")]),
        (
            "the option that holds",
            with(NATIVE, open, &format!("{open}        allow_on_headers_stop_iteration: true\n")),
            &[("warning wasm-option", "iteration: ^true")],
        ),
    ]);
}

#[test]
fn its_chain_is_looked_at_as_any_other() {
    let (guard, router) = ("  - name: webhook_guard\n", "  - name: envoy.filters.http.router\n");
    let (buffer, lua) = ("  - name: envoy.filters.http.buffer\n", "  - name: envoy.filters.http.lua\n");
    let not_held = with(NATIVE, "\"policies\": [", "\"hold_request_head\": false, \"policies\": [");
    let route_not_held =
        with(NATIVE, "environment: [B]", "hold_request_head: false\n                environment: [B]");
    let manager = "use_remote_address: true\n";
    assert_rows(vec![
        (
            "optional",
            with(NATIVE, guard, &format!("{guard}    is_optional: true\n")),
            &[("warning optional-filter", "  - ^name: webhook_guard")],
        ),
        (
            "buffer in front",
            with(NATIVE, guard, &format!("{buffer}{guard}")),
            &[("warning filter-order", "name: envoy.filters.http.buffer")],
        ),
        ("not held, no buffer", not_held.clone(), &[("warning filter-order", "  - ^name: webhook_guard")]),
        ("not held, buffer behind", with(&not_held, router, &format!("{buffer}{router}")), &[]),
        (
            "a route that is not held",
            route_not_held.clone(),
            &[("warning filter-order", "          ^webhook_guard:")],
        ),
        ("the same, buffer behind", with(&route_not_held, router, &format!("{buffer}{router}")), &[]),
        (
            "another filter behind",
            with(NATIVE, router, &format!("{lua}{router}")),
            &[("warning filter-order", "name: envoy.filters.http.lua")],
        ),
        (
            "default address",
            with(NATIVE, manager, "server_name: x\n"),
            &[("warning use-remote-address", "server_name")],
        ),
        (
            "upgrades",
            with(
                NATIVE,
                manager,
                &format!("{manager}  upgrade_configs: [{{upgrade_type: websocket, filters: []}}]\n"),
            ),
            &[("warning upgrade-filters", "[^{upgrade_type")],
        ),
    ]);
}

#[test]
fn a_route_speaks_to_a_guard_that_is_there() {
    let key = "          webhook_guard:\n";
    let wasm = "\"@type\": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm\n      config: {name: webhook_guard, allow_on_headers_stop_iteration: true, failure_policy: FAIL_RELOAD, configuration: {value: '{\"policies\": [{\"name\": \"a\", \"match\": {\"path\": \"/a\"}, \"require\": \"nothing\"}]}'}}\n";
    let start = NATIVE.find("      \"@type\"").unwrap();
    let end = NATIVE.find("  - name: envoy.filters.http.router").unwrap();
    let (before, behind) = (NATIVE.get(..start).unwrap(), NATIVE.get(end..).unwrap());
    let instead = |filter: &str| format!("{before}      {filter}{behind}");
    let discovered = |url: &str| {
        instead("").replacen(
            "typed_config:\n      ",
            &format!(
                "config_discovery: {{type_urls: [type.googleapis.com/envoy.extensions.filters.http.{url}]}}\n"
            ),
            2,
        )
    };
    let routes = NATIVE.get(NATIVE.find("  route_config").unwrap()..).unwrap();
    let in_filter_config = routes
        .lines()
        .map(
            |line| {
                if line.starts_with("            ") { format!("    {line}\n") } else { format!("{line}\n") }
            },
        )
        .collect::<String>();
    let wrapped = with(
        &in_filter_config,
        key,
        &format!(
            "{key}            \"@type\": type.googleapis.com/envoy.config.route.v3.FilterConfig\n            config:\n"
        ),
    );
    let filters = NATIVE.get(..NATIVE.find("  route_config").unwrap()).unwrap();
    assert_rows(vec![
        (
            "another name",
            with(NATIVE, key, "          guard:\n"),
            &[("warning route-without-guard", "guard:")],
        ),
        (
            "a Wasm module",
            instead(wasm),
            &[
                (
                    "warning nothing-required",
                    "config: {name: webhook_guard, allow_on_headers_stop_iteration: true, failure_policy: FAIL_RELOAD, configuration: {value: ^'",
                ),
                ("warning route-without-guard", "          ^webhook_guard:"),
            ],
        ),
        ("alone", routes.to_owned(), &[("warning route-without-guard", "          ^webhook_guard:")]),
        ("beside its filter", format!("{filters}---\n{routes}"), &[]),
        ("in a FilterConfig", format!("{filters}{wrapped}"), &[]),
        (
            "in a FilterConfig of another name",
            format!("{filters}{}", with(&wrapped, key, "          guard:\n")),
            &[("warning route-without-guard", "          ^guard:")],
        ),
        (
            "off",
            with(
                NATIVE,
                routes,
                "  route_config:\n    typed_per_filter_config:\n      webhook_guard: {\"@type\": type.googleapis.com/envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilterPerRoute, dynamic_module_config: {name: webhook_guard}, disabled: true}\n",
            ),
            &[],
        ),
        ("discovered", discovered("dynamic_modules.v3.DynamicModuleFilter"), &[]),
        (
            "another discovered",
            discovered("wasm.v3.Wasm"),
            &[("warning route-without-guard", "          ^webhook_guard:")],
        ),
    ]);
}

/// The chain in one file, its routes in another one, as they are discovered.
#[test]
fn a_route_may_stand_in_another_file() {
    let (filters, routes) = NATIVE.split_at(NATIVE.find("  route_config").unwrap());
    let other = with(routes, "          webhook_guard:\n", "          guard:\n");
    let filters = file("native routes", "filters.yaml", filters);
    for (name, routes, expected) in [("same", routes, 0), ("other", &other, 1)] {
        let routes = file("native routes", &format!("{name}.yaml"), routes);
        for files in [[&filters, &routes], [&routes, &filters]] {
            let run = run(&["check", "--format", "json", files[0], files[1]], &VARIABLES, b"");
            assert_eq!(findings(&run).len(), expected, "{files:?}: {run:?}");
            assert_eq!(run.stdout.matches("route-without-guard").count(), expected, "{files:?}: {run:?}");
        }
    }
}

/// Discovered by the name of its resource, and in a patch of Istio.
#[test]
fn it_is_found_where_it_is_discovered_and_in_patches() {
    let filter = NATIVE.get(
        NATIVE.find("    typed_config:").unwrap()
            ..NATIVE.find("  - name: envoy.filters.http.router").unwrap(),
    );
    let filter = filter.unwrap().replace("\n    ", "\n  ").replacen("    typed", "  typed", 1);
    let not_held = with(&filter, "\"policies\": [", "\"hold_request_head\": false, \"policies\": [");
    let chain = "use_remote_address: true\nhttp_filters:\n- name: by-name\n  config_discovery: {type_urls: [type.googleapis.com/envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter]}\n- name: envoy.filters.http.router\n";
    let resource = |filter: &str| {
        format!(
            "{chain}---\nresources:\n- \"@type\": type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig\n  name: by-name\n{filter}"
        )
    };
    let patch = |filter: &str| {
        let value: String = filter.lines().map(|line| format!("      {line}\n")).collect();
        format!(
            "apiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\nspec:\n  configPatches:\n  - applyTo: EXTENSION_CONFIG\n    patch:\n      value:\n        name: webhook-guard\n{value}"
        )
    };
    let unlisted = |text: &str| with(text, "[\"A\", \"B\"]", "[\"B\"]");
    assert_rows(vec![
        ("discovered", resource(&filter), &[]),
        ("discovered, not held", resource(&not_held), &[("warning filter-order", "- ^name: by-name")]),
        (
            "discovered, not listed",
            resource(&unlisted(&filter)),
            &[("error invalid-value", "\"env\": ^\"A\"")],
        ),
        ("patched", patch(&filter), &[]),
        ("patched, not listed", patch(&unlisted(&filter)), &[("error invalid-value", "\"env\": ^\"A\"")]),
    ]);
}

#[test]
fn envoy_gateway_knows_a_module_by_its_registration() {
    let (policy, proxy) = GATEWAY.split_once("---\n").unwrap();
    assert_rows(vec![
        ("as it should be in Envoy Gateway", GATEWAY.to_owned(), &[]),
        ("no EnvoyProxy", policy.to_owned(), &[("warning module-name", "  - name: ^webhook-guard")]),
        (
            "another name registered",
            format!("{}---\n{proxy}", with(policy, "name: webhook-guard", "name: guard")),
            &[("warning module-name", "  - name: ^guard")],
        ),
        (
            "registered, may be closed",
            with(
                GATEWAY,
                "  - name: webhook-guard\n    doNotClose: true\n",
                "  - other: true\n    name: webhook-guard\n",
            ),
            &[("warning do-not-close", "  - ^other: true")],
        ),
        (
            "not listed in Envoy Gateway",
            with(GATEWAY, "environment: [A]", "environment: [B]"),
            &[("error invalid-value", "env: ^A")],
        ),
        (
            "an option of Wasm",
            with(GATEWAY, "    filterName", "    failOpen: true\n    filterName"),
            &[("warning wasm-option", "failOpen: ^true")],
        ),
        (
            "no buffer",
            with(GATEWAY, "      environment: [A]", "      hold_request_head: false\n      environment: [A]"),
            &[("warning buffer-missing", "hold_request_head")],
        ),
    ]);
}

/// Of the process' variables the module reads those that are listed; files it reads, and a Wasm module does not.
#[test]
fn secrets_are_had_as_what_holds_the_configuration_has_them() {
    let path = file("native", "secret", format!("{SECRET}\n"));
    let large = file("native", "large", vec![b'a'; (64 << 10) + 1]);
    let most = file("native", "most", vec![b'a'; 64 << 10]);
    let binary = file("native", "binary", [0xff; 32]);
    let listed = "            \"environment\": [\"A\", \"B\"],\n";
    let secret = "{\"env\": \"A\"}";
    let of_file = |path: &str| with(NATIVE, secret, &format!("{{\"file\": \"{path}\"}}"));
    let wasm = |secret: &str| {
        format!(
            "\"@type\": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm\nconfig:\n  allow_on_headers_stop_iteration: true\n  failure_policy: FAIL_RELOAD\n  vm_config: {{environment_variables: {{host_env_keys: [A]}}}}\n  configuration:\n    value:\n      policies: [{{name: a, match: {{path: /a}}, require: {{token: {{bearer: true, secrets: [{secret}]}}}}}}]\n"
        )
    };
    let alone = |secret: &str| {
        format!(
            "policies: [{{name: a, match: {{path: /a}}, require: {{token: {{bearer: true, secrets: [{secret}]}}}}}}]\n"
        )
    };
    let written = |path: &str| format!("{{file: {path}}}");
    let error = [("error invalid-value", "\"file\": ^\"")];
    assert_rows(vec![
        ("nothing is listed", with(NATIVE, listed, ""), &[("error invalid-value", "\"env\": ^\"A\"")]),
        (
            "not listed",
            with(NATIVE, "[\"A\", \"B\"]", "[\"B\"]"),
            &[("error invalid-value", "\"env\": ^\"A\"")],
        ),
        (
            "not listed by a route",
            with(NATIVE, "environment: [B]", "environment: [A]"),
            &[("error invalid-value", "env: ^B")],
        ),
        ("a file", of_file(&path), &[]),
        ("the largest file", of_file(&most), &[]),
        ("a file that is not here", of_file("/no/such/file"), &[("note unreadable-file", "\"file\": ^\"")]),
        ("a directory", of_file("/etc"), &error),
        ("a device", of_file("/dev/zero"), &error),
        ("too large", of_file(&large), &error),
        ("not UTF-8", of_file(&binary), &error),
        ("empty", of_file(&file("native", "empty", "\n")), &error),
        ("Wasm, a variable", wasm("{env: A}"), &[]),
        ("Wasm, a file", wasm(&written(&path)), &[("error invalid-value", "file: ^/")]),
        ("alone, a variable", alone("{env: A}"), &[]),
        ("alone, a file", alone(&written(&path)), &[]),
        (
            "alone, a file that is not here",
            alone("{file: /no/such/file}"),
            &[("note unreadable-file", "file: ^/")],
        ),
    ]);
    let reused = with(
        &of_file(&path),
        "{\"name\": \"a\"",
        "{\"name\": \"c\", \"match\": {\"path\": \"/c\"}, \"require\": {\"token\": {\"bearer\": true, \"secrets\": [{\"env\": \"B\"}]}}},\n              {\"name\": \"a\"",
    );
    let name = file("native", "reused.yaml", &reused);
    let run_with = |value: &str| {
        run(&["check", "--format", "json", &name], &[("A", "0123456789abcdef"), ("B", value)], b"")
    };
    assert_eq!(findings(&run_with("fedcba9876543210")), Vec::<String>::new());
    assert_eq!(
        findings(&run_with(SECRET)),
        [format!("warning reused-secret {}", place(&reused, "^{\"file\""))]
    );
}

#[test]
fn what_is_not_here_is_counted_and_fails_a_strict_check() {
    let text = with(NATIVE, "{\"env\": \"A\"}", "{\"file\": \"/no/such/file\"}");
    let name = file("native", "not here.yaml", &text);
    for (arguments, status) in [(&["check", &name][..], 0), (&["check", "--strict", &name], 1)] {
        let run = run(arguments, &[], b"");
        let expected = "note: 1 secret was not looked at: the variables are not set here (--env-file gives them, --format json names them)\nnote: 1 secret was not looked at: the files cannot be read here (--format json says where they are named)\n2 configurations: 0 errors, 0 warnings\n";
        assert_eq!((run.status, run.stdout.as_str()), (status, expected), "{run:?}");
    }
}

/// Envoy takes a `BytesValue` as well, in base64 of either alphabet.
#[test]
fn a_configuration_in_bytes_is_read() {
    let start = NATIVE.find("        value: |\n").unwrap();
    let end = NATIVE.find("  - name: envoy.filters.http.router").unwrap();
    let json = NATIVE.get(start..end).unwrap().trim_start().trim_start_matches("value: |\n");
    let of = |json: &str, encode: &dyn Fn(&[u8]) -> String| {
        let value = format!("        value: {}\n", encode(json.as_bytes()));
        let text = format!("{}{value}{}", NATIVE.get(..start).unwrap(), NATIVE.get(end..).unwrap());
        with(&text, "StringValue", "BytesValue")
    };
    let plain = |bytes: &[u8]| BASE64.encode(bytes);
    let url = |bytes: &[u8]| {
        let text = BASE64URL_NOPAD.encode(bytes);
        assert!(text.contains('_'), "it is the same in both alphabets");
        text
    };
    let unlisted = with(json, "\"A\", ", "");
    let not_held = with(json, "{", "{\"hold_request_head\": false, ");
    // Three question marks become a `_` wherever they stand.
    let url_alphabet = of(&with(json, "{", "{\"policy_namespace\": \"???\", "), &url);
    let at = "        value: ^";
    assert_rows(vec![
        ("bytes", of(json, &plain), &[]),
        ("bytes for a URL", url_alphabet, &[]),
        ("bytes, not held", of(&not_held, &plain), &[("warning filter-order", "  - ^name: webhook_guard")]),
        ("bytes, not listed", of(&unlisted, &plain), &[("error invalid-value", at)]),
        ("bytes, no JSON", of("{\n\n  no", &plain), &[("error not-json", at)]),
        ("no base64", of(json, &|_| "no-base-64!".to_owned()), &[("error not-json", at)]),
    ]);
}

#[test]
fn it_is_asked_about_as_any_other() {
    let path = file("native", "token", format!("{SECRET}\n"));
    let name =
        file("native", "asked.yaml", with(NATIVE, "{\"env\": \"A\"}", &format!("{{\"file\": \"{path}\"}}")));
    let request = file("native", "any request", "POST /a HTTP/1.1\r\nHost: h\r\n\r\n");
    let several = run(&["explain", "--config", &name, "--request", &request], &VARIABLES, b"");
    assert!(
        several.status == 2 && several.stderr.contains("holds 2 configurations; choose one with --plugin"),
        "{several:?}"
    );
    for (plugin, target, token, status) in [
        ("1", "/a", SECRET, 0),
        ("1", "/a", "another", 1),
        ("2", "/b/c", VARIABLES[1].1, 0),
        ("2", "/b/c", SECRET, 1),
    ] {
        let request = format!(
            "POST {target} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\nContent-Length: 0\r\n\r\n"
        );
        let request = file("native", "a request", request);
        let run =
            run(&["explain", "--config", &name, "--plugin", plugin, "--request", &request], &VARIABLES, b"");
        assert_eq!(run.status, status, "{plugin} {target}: {run:?}");
    }
    let url = lenient("127.0.0.1:0");
    let tried = run(&["try", "--config", &name, "--plugin", "1", "--url", &url], &VARIABLES, b"");
    assert!(tried.stdout.contains("204 forwarded  as expected"), "{tried:?}");
    assert!(!format!("{tried:?}").contains(SECRET), "{tried:?}");
    let gone = file("native", "gone.yaml", with(NATIVE, "{\"env\": \"A\"}", "{\"file\": \"/no/such/file\"}"));
    let run = run(&["explain", "--config", &gone, "--plugin", "1", "--request", &request], &VARIABLES, b"");
    assert!(
        run.status == 2 && run.stderr.contains("secrets[0].file: the file cannot be opened\n"),
        "{run:?}"
    );
}
