"""Lesson 2: typical wrong answers, each with words of the message it must get."""

from lessons.kit import wrong


@wrong(1, "order of the forward pass")
def forward(graph, loss):
    done = []

    def visit(value):
        if value not in done:
            for source in graph.get(value, ()):
                visit(source)
            done.append(value)

    visit(loss)
    return done


@wrong(1, "its adjoint is not complete")
def breadth_first(graph, loss):
    order = [loss]
    for value in order:
        order += [s for s in dict.fromkeys(graph.get(value, ())) if s not in order]
    return order


@wrong(1, "comes more than once")
def without_marks(graph, loss):
    order = [loss]
    for value in order:
        if len(order) > 200:
            break
        order.extend(graph.get(value, ()))
    return order


@wrong(1, "is missing, and the loss is made from it")
def made_values_only(graph, loss):
    done = []

    def visit(value):
        if value in graph and value not in done:
            for source in graph[value]:
                visit(source)
            done.append(value)

    visit(loss)
    return done[::-1]


@wrong(1, "does not lead to the loss")
def everything(graph, loss):
    given = {s for sources in graph.values() for s in sources} - set(graph)
    return [*reversed(list(graph)), *given]


@wrong(1, "wanted is a list")
def unordered(graph, loss):
    waiting = [loss]
    for value in waiting:
        waiting += [s for s in graph.get(value, ()) if s not in waiting]
    return set(waiting)


@wrong(1, "v0 is missing")
def a_thousand_steps_at_most(graph, loss):
    uses, reached = {loss: 0}, [loss]
    for value in reached:
        for source in graph.get(value, ()):
            if source not in uses:
                reached.append(source)
            uses[source] = uses.get(source, 0) + 1
    order, ready = [], [loss]
    for _ in range(1000):
        if ready:
            value = ready.pop()
            order.append(value)
            for source in graph.get(value, ()):
                uses[source] -= 1
                if uses[source] == 0:
                    ready.append(source)
    return order


@wrong(1, "Networks are deeper")
def recursive(graph, loss):
    done = {}

    def visit(value):
        if value not in done:
            for source in graph.get(value, ()):
                visit(source)
            done[value] = True

    visit(loss)
    return list(done)[::-1]


@wrong(1, "loss itself is not in the order")
def without_the_loss(graph, loss):
    return [v for v in reversed(list(graph)) if v != loss]


@wrong(2, "the adjoint of a is 0; expected")
def nothing_for_given_values(graph, rules, order):
    adjoints = dict.fromkeys(order, 0.0)
    adjoints[order[0]] = 1.0
    for value in order:
        if value in graph:
            sent = rules[value](adjoints[value])
            for source, gradient in zip(graph[value], sent, strict=True):
                adjoints[source] += gradient
    return {value: adjoints[value] * (value in graph) for value in order}


@wrong(2, "the adjoint of a is missing")
def of_made_values_only(graph, rules, order):
    adjoints = dict.fromkeys(order, 0.0)
    adjoints[order[0]] = 1.0
    for value in order:
        if value in graph:
            sent = rules[value](adjoints[value])
            for source, gradient in zip(graph[value], sent, strict=True):
                adjoints[source] += gradient
    return {value: adjoints[value] for value in graph if value in adjoints}


@wrong(2, "second contribution replaced")
def assign(graph, rules, order):
    adjoints = {order[0]: 1.0}
    for value in order:
        if value in graph:
            adjoints.update(zip(graph[value], rules[value](adjoints[value])))
    return adjoints


@wrong(2, "only the first contribution")
def keep_the_first(graph, rules, order):
    adjoints = {order[0]: 1.0}
    for value in order:
        if value in graph:
            for source, g in zip(graph[value], rules[value](adjoints[value])):
                adjoints.setdefault(source, g)
    return adjoints


@wrong(2, "contributions were multiplied")
def product_of_paths(graph, rules, order):
    adjoints = {order[0]: 1.0}
    for value in order:
        if value in graph:
            for source, g in zip(graph[value], rules[value](adjoints[value])):
                adjoints[source] = adjoints.get(source, 1.0) * g
    return adjoints


@wrong(2, "used twice by the SAME step")
def a_dict_for_each_step(graph, rules, order):
    adjoints = {value: 0.0 for value in order}
    adjoints[order[0]] = 1.0
    for value in order:
        if value in graph:
            sent = dict(zip(graph[value], rules[value](adjoints[value])))
            for source in sent:
                adjoints[source] += sent[source]
    return adjoints


@wrong(2, "called with 1")
def local_derivatives_only(graph, rules, order):
    adjoints = {value: 0.0 for value in order}
    adjoints[order[0]] = 1.0
    for value in order:
        if value in graph:
            for source, g in zip(graph[value], rules[value](1.0)):
                adjoints[source] += g
    return adjoints


@wrong(2, "All adjoints are 0")
def no_seed(graph, rules, order):
    adjoints = dict.fromkeys(order, 0.0)
    for value in order:
        if value in graph:
            for source, g in zip(graph[value], rules[value](adjoints[value])):
                adjoints[source] += g
    return adjoints


@wrong(2, "wanted is a dict")
def a_list(graph, rules, order):
    return [1.0 for _ in order]
