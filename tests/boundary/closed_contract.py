"""A contract for import-linter: modules that match `modules` import of ours only what matches `may_import`.

An allow-list, so that a new module is covered the day it is made. Patterns are those of `fnmatch`. Direct imports
are enough: what may be imported is under such a contract itself. `never` names outside packages, the standard
library's among them, that must not be imported.
"""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether a module's name fits one of the patterns."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


class ClosedContract(Contract):
    """The contract type `closed`."""

    type_name = "closed"

    modules: Any = fields.SetField(subfield=fields.StringField())
    may_import: Any = fields.SetField(subfield=fields.StringField(), required=False)
    never: Any = fields.SetField(subfield=fields.StringField(), required=False)

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """Every import that is not permitted, with its lines."""
        permitted, never = tuple(self.may_import or ()), frozenset(self.never or ())
        sources = sorted(name for name in graph.modules if _is_ours(graph, name) and matches(name, self.modules))
        if not sources:
            raise ValueError("the contract covers no module")
        broken = [
            (importer, imported)
            for importer in sources
            for imported in sorted(graph.find_modules_directly_imported_by(importer))
            if (not matches(imported, permitted) if _is_ours(graph, imported) else imported in never)
        ]
        details = [
            f"{importer} imports {imported} (line {detail['line_number']}): {detail['line_contents']}"
            for importer, imported in broken
            for detail in graph.get_import_details(importer=importer, imported=imported)
        ]
        return ContractCheck(kept=not broken, metadata={"details": details})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """One line per import."""
        for detail in check.metadata["details"]:
            output.print_error(detail, bold=False)
            output.new_line()


def _is_ours(graph: ImportGraph, name: str) -> bool:
    return not graph.is_module_squashed(name)
