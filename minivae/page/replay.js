/* A recorded step, played again from its leaves. */

/* Lay out the elements of an array in a shape, from the first again when used up. */
function laidOut(array, shape) {
  if (!shape) return array;
  const n = array.data.length;
  return {
    shape,
    data: Float64Array.from({ length: sizeOf(shape) }, (_, i) => array.data[i % n]),
  };
}

/* Forward: the values of all nodes, given those of the leaves by id. */
function playForward(nodes, leaves) {
  const values = new Map(leaves);
  for (const node of nodes) {
    const inputs = inputsOf(node, values);
    values.set(node.id, OPS[node.op].forward(inputs, node.params));
  }
  return values;
}

function inputsOf(node, values) {
  return node.inputs.map(([id, output, shape]) =>
    laidOut(values.get(id)[output], shape),
  );
}

/* Backward: for each recorded event what arrives, what leaves, and the sum so far. */
function playBackward(step, values) {
  const nodes = new Map(step.nodes.map((node) => [node.id, node]));
  const adjoints = new Map([[step.loss.join(), scalar(1)]]);
  let raw = null;
  return step.events.map((event) => {
    const node = nodes.get(event.sender);
    const outputs = values.get(node.id);
    let upstream, gradient;
    if (event.kind === "contribution") {
      upstream = outputs.map((_, i) => adjoints.get(`${node.id},${i}`) ?? scalar(0));
      gradient = raw = OPS[node.op].rule(
        upstream,
        outputs,
        inputsOf(node, values),
        node.params,
        event.position,
      );
    } else {
      upstream = [raw];
      gradient = unbroadcast(raw, inputsOf(node, values)[event.position].shape);
    }
    const key = `${event.receiver},${event.output}`;
    if (event.adds) {
      const before = adjoints.get(key);
      adjoints.set(
        key,
        before ? elementwise((a, b) => a + b, before, gradient) : gradient,
      );
    }
    return { upstream, gradient, total: adjoints.get(key) ?? null };
  });
}
