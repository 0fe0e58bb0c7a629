from surfaces_core.testing import contract

from surfaces_folders import FoldersFiles

test_contract = contract.files(FoldersFiles)
