import sys, time, pickle
from nas.verify import trained
from nas.verify.trained import *
if __name__=='__main__':
    lab=Lab("/work/shared/data/cifar10-jpeg.tar.xz",2,lambda s:print(s,flush=True))
    for f in (lesion_of_residual,lesion_of_plain,estimation_of_residual,estimation_of_plain,depth_rises):
        t=time.time(); r=f(lab); print(f.__name__, r.passed, r.measured, f'{time.time()-t:.0f}s',flush=True)
    print([ (t.error,t.loss) for t in lab.trained(*PAIR)])
    pickle.dump(lab._trained,open('/tmp/w/hD_trained.pkl','wb'))
