"""Teaching: the catalogue of mistakes, and specimens of everything a gradient can be taken of."""

from nnrec.teach import breaches, mistakes
from nnrec.teach.diagnosis import Diagnosis, diagnose
from nnrec.teach.explanations import Explanation, explain
from nnrec.teach.planting import MISTAKES, Mistake
from nnrec.teach.recording import trace
from nnrec.teach.specimens import SPECIMENS, Case, Specimen
from nnrec.teach.symbols import register
from nnrec.teach.traces import Step, Trace, verify

__all__ = ["MISTAKES", "SPECIMENS", "Case", "Diagnosis", "Mistake", "Specimen"]
__all__ += ["breaches", "diagnose", "mistakes"]
__all__ += ["Explanation", "Step", "Trace", "explain", "register", "trace", "verify"]
