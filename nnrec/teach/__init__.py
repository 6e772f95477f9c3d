"""Teaching: the catalogue of mistakes, and specimens of everything a gradient can be taken of."""

from nnrec.teach import breaches, mistakes
from nnrec.teach.diagnosis import Diagnosis, diagnose
from nnrec.teach.planting import MISTAKES, Mistake
from nnrec.teach.specimens import SPECIMENS, Case, Specimen

__all__ = ["MISTAKES", "SPECIMENS", "Case", "Diagnosis", "Mistake", "Specimen"]
__all__ += ["breaches", "diagnose", "mistakes"]
