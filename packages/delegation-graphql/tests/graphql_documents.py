"""Documents that are refused, do not fit, or only look like more than they are, by what is odd about them."""

CHANGE = 'addOrder(item: "x") { id }'


def nested(levels: int, inside: str = "name") -> str:
    """``me`` and ``orders`` in each other, that many levels deep."""
    text = inside
    for level in range(levels):
        text = f"{'buyer' if level % 2 == 0 else 'orders'} {{ {text} }}"
    return text


def chain(length: int, spreads: int) -> str:
    """Fragments each of which uses the next one ``spreads`` times."""
    parts = ["{ me { ...F0 } }"]
    parts += [
        f"fragment F{n} on User {{ {f'...F{n + 1} ' * spreads if n < length - 1 else 'name'} }}" for n in range(length)
    ]
    return " ".join(parts)


REFUSED = {
    "several operations": f"query A {{ me {{ name }} }} mutation B {{ {CHANGE} }}",
    "the same name twice": f"query A {{ me {{ name }} }} mutation A {{ {CHANGE} }}",
    "two without names": "{ me { name } } { me { name } }",
    "two queries": "query A { me { name } } query B { me { name } }",
    "a subscription": "subscription { ticks }",
    "a subscription beside": "query A { me { name } } subscription B { ticks }",
    "nothing but a fragment": "fragment A on User { name }",
    "a thousand aliases": "{ " + " ".join(f"a{n}: me {{ name }}" for n in range(200)) + " }",
    "aliases inside": "{ me { " + " ".join(f"a{n}: name" for n in range(31)) + " } }",
    "aliases in fragments": "{ me { ...A } } fragment A on User { " + " ".join(f"a{n}: name" for n in range(31)) + " }",
    "many mutations": "mutation { " + " ".join(f"m{n}: {CHANGE}" for n in range(11)) + " }",
    "the same mutation often": "mutation { " + CHANGE * 11 + " }",
    "mutations in a fragment": "mutation { ...A ...A } fragment A on Mutation { " + "deleteOrders " * 6 + "}",
    "mutations in inline fragments": "mutation { " + "... on Mutation { deleteOrders } " * 11 + "}",
    "mutations that are skipped": "mutation { " + "deleteOrders @skip(if: true) " * 11 + "}",
    "mutations not included": "mutation ($n: Boolean!) { " + "deleteOrders @include(if: $n) " * 11 + "}",
    "too deep": "{ me { " + f"orders {{ {nested(12)} }}" + " } }",
    "too deep by fragments": "{ me { ...A } } fragment A on User { orders { buyer { ...B } } } "
    "fragment B on User { orders { buyer { ...C } } } fragment C on User { orders { buyer { ...D } } } "
    "fragment D on User { orders { buyer { ...E } } } fragment E on User { orders { buyer { orders { id } } } }",
    "far too deep": "{ me " * 2_000,
    "brackets": "{ order(id: " + "[" * 3_000,
    "a tower": "{ orders(filter: " + "{anyOf: " * 70 + "1" + "}" * 70 + ") { id } }",
    "fragments that multiply": chain(12, 6),
    "fragments that multiply without end": chain(19, 9),
    "too many fields": "{ me { " + "name " * 301 + "} }",
    "too many fragments": chain(21, 1),
    "a cycle": "{ me { ...A } } fragment A on User { orders { buyer { ...B } } } fragment B on User { ...A }",
    "a fragment in itself": "{ me { ...A } } fragment A on User { name ...A }",
    "a cycle that nothing uses": "{ me { name } } fragment A on User { ...B } fragment B on User { ...A }",
    "two fragments of a name": "{ me { ...A } } fragment A on User { name } fragment A on User { orders { id } }",
    "@defer": "{ me { ... @defer { name } } }",
    "@stream": "{ orders @stream(initialCount: 1) { id } }",
    "@defer on a spread": "{ me { ...A @defer } } fragment A on User { name }",
    "@live": "query @live { me { name } }",
    "@client": "{ me @client { name } }",
    "@include and another": "{ me @include(if: true) @cached { name } }",
    "a directive on a variable": "query ($a: Int = 1 @x) { orders(first: $a) { id } }",
    "a directive on a fragment": "{ me { ...A } } fragment A on User @x { name }",
    "__schema": "{ __schema { types { name } } }",
    "__type": '{ __type(name: "User") { fields { name } } }',
    "__schema under another name": "{ me: __schema { types { name } } }",
    "__schema in a fragment": "{ ...A } fragment A on Query { __schema { types { name } } }",
    "__schema inline": "{ ... on Query { ... { __schema { types { name } } } } }",
    "__schema that is skipped": "{ me { name } __schema @skip(if: true) { types { name } } }",
    "a type definition": "{ me { name } } type User { name: String }",
    "an extension": "{ me { name } } extend type Query { x: Int }",
    "a schema definition": "schema { query: Mutation } { me { name } }",
    "a directive definition": "directive @x on FIELD { me { name } }",
    "long": "{ me { name } } #" + "x" * 20_000,
    "long in another alphabet": "{ me { name } } #" + "ä" * 9_000,
    "many words": "{ me { name } " + "," * 10 + "a " * 2_001 + "}",
}
INVALID = {
    "nothing": "",
    "blanks": " \n\t",
    "a comment": "# { me { name } }",
    "a word": "query",
    "no selection": "{ me }",
    "an empty selection": "{ me { } }",
    "a selection on a leaf": "{ me { name { x } } }",
    "no such field": "{ password }",
    "no such argument": "{ orders(where: 1) { id } }",
    "an argument is missing": "{ order { id } }",
    "a mutation's field in a query": f"{{ {CHANGE} }}",
    "a fragment on Mutation in a query": f"{{ ...A }} fragment A on Mutation {{ {CHANGE} }}",
    "an inline fragment on Mutation in a query": f"{{ ... on Mutation {{ {CHANGE} }} }}",
    "a fragment on Mutation below": f"{{ me {{ ... on Mutation {{ {CHANGE} }} }} }}",
    "a fragment on Subscription in a query": "{ ... on Subscription { ticks } }",
    "a fragment that is not there": "{ me { ...A } }",
    "a fragment on nothing known": "{ me { ... on Nobody { name } } }",
    "a fragment that nothing uses": f"{{ me {{ name }} }} fragment A on Mutation {{ {CHANGE} }}",
    "a variable that is not declared": "{ order(id: $id) { id } }",
    "a variable that nothing uses": "query ($a: Int) { me { name } }",
    "a variable of an output type": "query ($a: User) { orders(filter: $a) { id } }",
    "a variable in the wrong place": "query ($a: Boolean) { orders(first: $a) { id } }",
    "a variable twice": "query ($a: Int, $a: Int) { orders(first: $a) { id } }",
    "fields that conflict": '{ order(id: "1") { id } order(id: "2") { id } }',
    "aliases that conflict": "{ me { a: name a: orders { id } } }",
    "the same directive twice": "{ me @skip(if: false) @skip(if: false) { name } }",
    "@skip without a condition": "{ me @skip { name } }",
    "@skip on the operation": "query @skip(if: true) { me { name } }",
    "@include on the mutation": f"mutation @include(if: false) {{ {CHANGE} }}",
    "an int that is huge": "{ orders(first: 99999999999999999999) { id } }",
    "an int that is endless": "{ orders(first: " + "9" * 5_000 + ") { id } }",
    "an int in text": '{ orders(first: "5") { id } }',
    "a float": "{ orders(first: 1e3) { id } }",
    "an int and letters": "{ orders(first: 1a) { id } }",
    "an int with a zero before": "{ orders(first: 007) { id } }",
    "an enum that is none": "{ orders(filter: {state: STOLEN}) { id } }",
    "a member that is none": '{ orders(filter: {owner: "bob"}) { id } }',
    "a member twice": '{ orders(filter: {item: "a", item: "b"}) { id } }',
    "a name in escapes": "{ \\u006de { name } }",
    "an escape in a keyword": f"mut\\u0061tion {{ {CHANGE} }}",
    "full-width letters": "{ \uff4d\uff45 { name } }",
    "a quote that stays open": '{ order(id: "1) { id } }',
    "a block that stays open": '{ order(id: """1) { id } }',
    "half a character": "{ me { name } } #\ud800",
    "half a character in an escape": '{ order(id: "\\uD800") { id } }',
    "an escape beyond Unicode": '{ order(id: "\\u{110000}") { id } }',
    "NUL": "{ me { name } }\x00",
    "another start": "\ufeff\ufeff\x1b{ me { name } }",
    "a batch": '[{"query": "{ me { name } }"}]',
    "a request": '{"query": "{ me { name } }", "operationName": "A"}',
    "a keyword of something else": "query A { me { name } } UNION SELECT",
    "an unterminated block comment": "/* { me { name } }",
}
ALLOWED = {
    "a query": "{ me { name } }",
    "with a name": "query A { me { name } }",
    "@skip and @include": "query ($a: Boolean!) { me @skip(if: $a) { name @include(if: true) } }",
    "a mutation in a block string": '{ order(id: """} mutation { deleteOrders } {""") { id } }',
    "a mutation in a string": '{ order(id: "} mutation { deleteOrders } query A {") { id } }',
    "a mutation in a comment": "{ me { name } } # } mutation { deleteOrders }",
    "a mutation in escapes": '{ order(id: "\\u007d mutation \\u{7B} deleteOrders }") { id } }',
    "a field by another name": "{ deleteOrders: me { mutation: name } }",
    "an operation by another name": "query mutation { me { name } }",
    "a fragment by another name": "{ ...mutation } fragment mutation on Query { me { name } }",
    "__typename": "{ __typename me { __typename } }",
    "a start with a mark": "\ufeff{ me { name } }",
    "another alphabet": '{ order(id: "ä\\u00e4\\n😀") { id } }',
}
