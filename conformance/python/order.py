"""Holds the SOAP requests in a folder against pyvmomi's type tables.

A vCenter takes elements only in the order of the WSDL, vcsim and the lab take them in any. Checked:
order, unknown elements, elements that come twice, required elements that lack.
Usage: order.py FOLDER; every *.xml is one request. Prints one line a wrong request, then the counts.
"""

import pathlib
import sys
import xml.etree.ElementTree as ElementTree

from pyVmomi import VmomiSupport, vim  # noqa: F401  (vim fills the tables)

NAMESPACE = "urn:vim25"
XSI = "{http://www.w3.org/2001/XMLSchema-instance}type"


def local(tag):
    return tag.rsplit("}", 1)[-1]


def wsdl_type(name):
    name = name.rsplit(":", 1)[-1]
    try:
        return VmomiSupport.GetWsdlType(NAMESPACE, name)
    except KeyError:
        return None


def check(where, children, fields, wrong):
    """Children of an element against the ordered fields of its type: (name, type, optional)."""
    names = [name for name, _, _ in fields]
    last, seen = 0, set()
    for child in children:
        name = local(child.tag)
        if name not in names:
            wrong.append(f"{where}: {name} is no element of it")
            continue
        at = names.index(name)
        if at < last:
            wrong.append(f"{where}: {name} comes after {names[last]}, which the WSDL has behind it")
        last = max(last, at)
        kind = fields[at][1]
        many = isinstance(kind, type) and issubclass(kind, list)
        if name in seen and not many:
            wrong.append(f"{where}: {name} comes twice")
        seen.add(name)
        descend(f"{where}.{name}", child, getattr(kind, "Item", kind) if many else kind, wrong)
    for name, _, optional in fields:
        if name not in seen and not optional:
            wrong.append(f"{where}: {name} is required and lacks")


def descend(where, element, kind, wrong):
    named = element.get(XSI)
    if named:
        kind = wsdl_type(named) or kind
        if named.rsplit(":", 1)[-1].startswith("ArrayOf") and getattr(kind, "Item", None):
            for child in element:
                descend(f"{where}.{local(child.tag)}", child, kind.Item, wrong)
            return
    if isinstance(kind, type) and issubclass(kind, VmomiSupport.DataObject):
        fields = [(p.name, p.type, bool(p.flags & VmomiSupport.F_OPTIONAL)) for p in kind._GetPropertyList()]
        check(where, element, fields, wrong)


def request(path, wrong):
    body = ElementTree.parse(path).getroot().find("{http://schemas.xmlsoap.org/soap/envelope/}Body")
    call = body[0]
    method = local(call.tag)
    try:
        info = VmomiSupport.GetWsdlMethod(NAMESPACE, method)
    except KeyError:
        wrong.append(f"{method}: there is no such method")
        return method
    info = getattr(info, "info", info)
    fields = [("_this", object, False)]
    fields += [(p.name, p.type, bool(p.flags & VmomiSupport.F_OPTIONAL)) for p in info.params]
    check(method, call, fields, wrong)
    return method


def main(folder):
    methods, failed, bodies = {}, 0, sorted(pathlib.Path(folder).glob("*.xml"))
    shown = set()
    for path in bodies:
        wrong = []
        method = request(path, wrong)
        methods[method] = methods.get(method, 0) + 1
        failed += bool(wrong)
        for line in wrong:
            if line not in shown:
                shown.add(line)
                print("wrong:", line)
    print(f"order: {len(bodies)} requests of {len(methods)} methods checked, {failed} wrong")
    print("methods:", " ".join(sorted(methods)))
    return 1 if failed or not bodies else 0


sys.exit(main(sys.argv[1]))
