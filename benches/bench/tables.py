"""What is written, and how it is sent."""

ITEM = (
    "(id bigint primary key, name text not null, amount numeric(12, 2) not null, "
    "at timestamptz not null, note text not null default '')"
)
# So that a body has 300 bytes.
NOTE = 205

ENTITY = """
    upsert:
      - name: post
        post: /objects/item/{{ row.id }}
        body: { id: "{{ row.id }}", name: "{{ row.name }}", amount: "{{ row.amount }}", at: "{{ row.at }}", note: "{{ row.note }}" }
"""


def configuration(url: str, bank: str, connections: int = 64, call_log: str = "{ enabled: false }") -> str:
    return f"""
sources: {{ main: {{ url: "{url}" }} }}
remotes: {{ bank: {{ url: "{bank}", concurrency: {connections} }} }}
call_log: {call_log}
entities:
  item:
    table: item
{ENTITY}
admin: {{ listen: off }}
# A line a change is not what is measured.
log: {{ format: json, level: "info,rowcall::outcome=warn" }}
"""
