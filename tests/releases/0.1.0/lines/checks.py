from surfaces_core.testing import contract

from surfaces_lines import LinesStorage

test_contract = contract.storage(LinesStorage)
